package symbol

import "apm-ebpf/internal/target"

// Revalidate looks again at those of the code objects that are known, with as few system calls as possible, and forgets
// those that changed: an object was freed and its address used by another. Code that could not be read before is
// forgotten too. Names given since the last call may be those of an object that has gone.
//
// It costs 1 to 3 µs a code object, so that it suits a round of the reader, not a sample.
func (p *Python) Revalidate(addrs []uint64) {
	b := batch{known: map[textRange]int{}}
	checks := make([]recheck, 0, len(addrs))
	for _, addr := range addrs {
		c := p.codes[addr]
		if c == nil {
			continue
		}
		if c.fn == Unknown {
			p.drop(addr, c)
			continue
		}
		checks = append(checks, b.add(c, p.ranges(c)))
	}
	err := p.mem.ReadParts(b.parts)
	for _, k := range checks {
		if err != nil || p.fingerprint(k.code, b.parts3(k.places)) != k.code.sum {
			p.drop(k.code.addr, k.code)
		}
	}
}

// recheck is a code object that is being looked at again, and where in the batch its parts are.
type recheck struct {
	code   *code
	places [3]int
}

// batch gathers reads. Functions share the name of their file: what lies at one address is read once.
type batch struct {
	parts []target.Part
	known map[textRange]int // place of a string in parts
}

func (b *batch) add(c *code, ranges [3]target.Part) recheck {
	here := len(b.parts)
	k := recheck{c, [3]int{here, here, here}}
	b.parts = append(b.parts, ranges[0])
	if c.versioned {
		return k
	}
	for i, text := range c.texts {
		at, known := b.known[text]
		if !known {
			at = len(b.parts)
			b.known[text] = at
			b.parts = append(b.parts, ranges[1+i])
		}
		k.places[1+i] = at
	}
	return k
}

func (b *batch) parts3(places [3]int) (parts [3]target.Part) {
	for i, at := range places {
		parts[i] = b.parts[at]
	}
	return parts
}
