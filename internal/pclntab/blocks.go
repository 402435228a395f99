package pclntab

import "io"

// blocks keeps what was read last: look-ups go to the same few places, and mapping a file would put the agent at the
// mercy of whoever cuts it short.
type blocks struct {
	at    io.ReaderAt
	known map[uint64][]byte // by offset
}

const (
	blockSize = 4096
	maxBlocks = 128 // there is a table for each process, and who looks up keeps what it found
)

// forget lets go of all that was read.
func (b *blocks) forget() { b.known = map[uint64][]byte{} }

// read gives n bytes, nil where there are fewer.
func (b *blocks) read(off, n uint64) []byte {
	if rest := b.rest(off); n <= uint64(len(rest)) {
		return rest[:n]
	}
	out := make([]byte, n)
	if _, err := b.at.ReadAt(out, int64(off)); err != nil {
		return nil
	}
	return out
}

// rest gives what lies from an offset to the end of its block.
func (b *blocks) rest(off uint64) []byte {
	block := b.block(off &^ (blockSize - 1))
	return block[min(off%blockSize, uint64(len(block))):]
}

func (b *blocks) block(off uint64) []byte {
	if block, ok := b.known[off]; ok {
		return block
	}
	if len(b.known) >= maxBlocks {
		b.forget()
	}
	block := make([]byte, blockSize)
	n, _ := b.at.ReadAt(block, int64(off)) // the last one is shorter
	b.known[off] = block[:n]
	return block[:n]
}
