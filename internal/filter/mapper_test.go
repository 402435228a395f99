package filter

import (
	"fmt"
	"strings"
	"testing"
)

// grow makes the post-order list of a tree written as name(child child), with dropped frames in capitals.
func grow(t *testing.T, text string) []*Frame {
	t.Helper()
	var frames, open []*Frame
	for _, c := range text {
		switch c {
		case '(', ' ':
		case ')':
			frames = append(frames, open[len(open)-1])
			open = open[:len(open)-1]
		default:
			open = append(open, &Frame{Function: string(c), Depth: len(open)})
		}
	}
	if len(open) != 0 {
		t.Fatalf("%q leaves frames open", text)
	}
	return frames
}

func lower(f *Frame) bool { return f.Function == strings.ToLower(f.Function) }

func draw(frames []*Frame) string {
	var b strings.Builder
	for _, f := range frames {
		fmt.Fprintf(&b, "%s(%s)", f.Function, draw(f.Children))
	}
	return b.String()
}

func TestTree(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"root alone", "a()", "a()"},
		{"nested", "a(b(c()d())e(f()))", "a(b(c()d())e(f()))"},
		{"dropped leaf", "a(B()c())", "a(c())"},
		{"dropped inner frame", "a(B(c()d())e())", "a(c()d()e())"},
		{"its child does not become its sibling's", "a(B(c())d()e())", "a(c()d()e())"},
		{"two dropped one below the other", "a(B(C(d())E(f()))g(h()))", "a(d()f()g(h()))"},
		{"dropped root", "A(b(c())d())", "b(c())d()"},
		{"all dropped", "A(B(C())D())", ""},
		{"kept leaf alone", "A(B(c())D())", "c()"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := draw(Tree.Map([]Filter{lower}, grow(t, tt.in)))
			if got != tt.want {
				t.Errorf("%s became %s, want %s", tt.in, got, tt.want)
			}
		})
	}
}

func TestListKeepsOrderTimeAndDepth(t *testing.T) {
	frames := grow(t, "a(B(c()d())E(f()))")
	for i, f := range frames {
		f.Time = int64(i)
	}
	var got []string
	for _, f := range List.Map([]Filter{lower}, frames) {
		got = append(got, fmt.Sprint(f.Function, f.Time, f.Depth))
	}
	if want := "c0 2,d1 2,f3 2,a5 0"; strings.Join(got, ",") != want {
		t.Errorf("got %s, want %s", strings.Join(got, ","), want)
	}
}

func TestComposeAsksInOrder(t *testing.T) {
	var asked []string
	spy := func(name, drops string) Filter {
		return func(f *Frame) bool {
			asked = append(asked, name+f.Function)
			return f.Function != drops
		}
	}
	left := compose([]Filter{spy("1", "b"), spy("2", "a")}, grow(t, "a(b()c())"))
	if draw(left) != "c()" {
		t.Errorf("left %s", draw(left))
	}
	if got := strings.Join(asked, " "); got != "1b 1c 2c 1a 2a" {
		t.Errorf("asked %s", got)
	}
}

func TestParseMapper(t *testing.T) {
	for _, name := range []string{"tree2list", "tree"} {
		if m, err := ParseMapper(name); err != nil || string(m) != name {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	for _, name := range []string{"", "Tree", "list"} {
		if _, err := ParseMapper(name); err == nil {
			t.Errorf("%q was accepted", name)
		}
	}
}

// prune is the tree mapper's rule written down as it is told: every kept frame hangs at its nearest kept ancestor.
func prune(frames []*Frame, keep Filter) []*Frame {
	var tops []*Frame
	children := map[*Frame][]*Frame{}
	for i, f := range frames {
		if !keep(f) {
			continue
		}
		above, depth := (*Frame)(nil), f.Depth
		for _, g := range frames[i+1:] {
			if g.Depth >= depth {
				continue
			}
			if depth = g.Depth; keep(g) {
				above = g
				break
			}
		}
		if above == nil {
			tops = append(tops, f)
		} else {
			children[above] = append(children[above], f)
		}
	}
	for f, c := range children {
		f.Children = c
	}
	return tops
}

func FuzzTree(f *testing.F) {
	f.Add([]byte{2, 1, 1, 0}, uint64(0b0010))
	f.Add([]byte{3, 3, 2, 1, 2, 1, 0}, uint64(0b1010101))
	f.Add([]byte{0, 5, 0, 9}, uint64(0))
	f.Fuzz(func(t *testing.T, depths []byte, drop uint64) {
		if len(depths) > 64 {
			depths = depths[:64]
		}
		dropped := map[string]bool{}
		mine, theirs := make([]*Frame, len(depths)), make([]*Frame, len(depths))
		for i, d := range depths {
			frame := Frame{Function: fmt.Sprint(i), Depth: int(d)}
			dropped[frame.Function] = drop>>i&1 == 1
			copied := frame
			mine[i], theirs[i] = &frame, &copied
		}
		keep := func(f *Frame) bool { return !dropped[f.Function] }
		want := draw(prune(theirs, keep))
		if got := draw(Tree.Map([]Filter{keep}, mine)); got != want {
			t.Errorf("depths %v without %b became %s, want %s", depths, drop, got, want)
		}
	})
}

func TestMapAllocatesOnce(t *testing.T) {
	frames := grow(t, "a(b(c()d())e(f()g(h(i()))))")
	work := make([]*Frame, len(frames))
	for _, tt := range []struct {
		mapper Mapper
		allocs float64
	}{{List, 0}, {Tree, 1}} {
		filters := []Filter{lower}
		n := testing.AllocsPerRun(100, func() {
			copy(work, frames)
			tt.mapper.Map(filters, work)
		})
		if n > tt.allocs {
			t.Errorf("%s allocates %v times, want %v", tt.mapper, n, tt.allocs)
		}
	}
}
