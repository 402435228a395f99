package goroutine

import "apm-ebpf/internal/target"

// gather reads the same range of many structs, those that lie near each other in one piece: a piece costs five times
// what the bytes of one range do. It keeps its memory from one read to the next.
type gather struct {
	memory target.PartReader
	pieces []piece
	parts  []target.Part
	buf    []byte
	at     []int // where each struct's range begins in buf, -1: not readable
}

// piece is what is read together.
type piece struct {
	addr     uint64
	at, size int // in buf
	first, n int // structs
}

const (
	gapMax   = 1024    // bytes between two ranges that are read together
	pieceMax = 1 << 20 // bytes read together
	// failuresMax is how many structs are tried in vain in one read. Those of a real runtime are all there.
	failuresMax = 64
)

// read reads size bytes at each of the addresses, which ascend and are below addressMax. The error tells that nothing
// can be read at all.
func (g *gather) read(addrs []uint64, size int) error {
	g.plan(addrs, size)
	g.parts = g.parts[:0]
	for _, p := range g.pieces {
		g.parts = append(g.parts, target.Part{Addr: p.addr, Buf: g.buf[p.at:][:p.size]})
	}
	if err := g.memory.Read(g.parts); err != nil {
		return err
	}
	failures := 0
	for i, p := range g.pieces {
		if g.parts[i].OK {
			continue
		}
		for k := p.first; k < p.first+p.n; k++ {
			if failures < failuresMax && g.readAlone(addrs[k], g.buf[g.at[k]:][:size]) {
				continue
			}
			g.at[k] = -1
			failures++
		}
	}
	return nil
}

func (g *gather) plan(addrs []uint64, size int) {
	g.pieces, g.at = g.pieces[:0], g.at[:0]
	total := 0
	for i := 0; i < len(addrs); {
		p := piece{addr: addrs[i], at: total, size: size, first: i}
		for ; i < len(addrs); i++ {
			from := int(addrs[i] - p.addr)
			if from > p.size+gapMax || from+size > pieceMax {
				break
			}
			g.at = append(g.at, total+from)
			p.size = from + size
		}
		p.n = i - p.first
		g.pieces = append(g.pieces, p)
		total += p.size
	}
	if cap(g.buf) < total {
		g.buf = make([]byte, total+total/2)
	}
	g.buf = g.buf[:cap(g.buf)]
}

// readAlone reads one struct of a piece that is not mapped throughout.
func (g *gather) readAlone(addr uint64, buf []byte) bool {
	g.parts = append(g.parts, target.Part{Addr: addr, Buf: buf})
	part := g.parts[len(g.parts)-1:]
	return g.memory.Read(part) == nil && part[0].OK
}

// of gives what was read of the struct with this index, nil where it was not readable.
func (g *gather) of(i, size int) []byte {
	if g.at[i] < 0 {
		return nil
	}
	return g.buf[g.at[i]:][:size]
}
