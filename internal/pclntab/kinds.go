package pclntab

// wrapper gives the Kind of functions that the compiler made to call another one (internal/abi.FuncIDWrapper, the last of
// the kinds). It moves as kinds are added before it; in versions not known yet it is taken for the last one known.
func wrapper(minor int) uint8 {
	switch {
	case minor <= 21:
		return 21
	case minor <= 24:
		return 22
	}
	return 23
}

// IsWrapper tells the kind of functions that the compiler made to call another one: tracebacks leave them out.
func (t *Table) IsWrapper(kind uint8) bool { return kind == t.wrapper }
