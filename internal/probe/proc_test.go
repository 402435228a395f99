package probe

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestParseCPUs(t *testing.T) {
	for text, want := range map[string][]int{
		"0\n":        {0},
		"0-3,8\n":    {0, 1, 2, 3, 8},
		"1,3,5-6\n":  {1, 3, 5, 6},
		"3-1\n":      nil,
		"x\n":        nil,
		"0-99999999": nil,
	} {
		path := filepath.Join(t.TempDir(), "online")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := parseCPUs(path)
		if (err != nil) != (want == nil) || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestUnclocked(t *testing.T) {
	clocks := timer{cpus: []int{0, 1, 2}}
	for _, step := range []struct{ online, want []int }{
		{[]int{0, 1, 2}, nil},
		{[]int{0, 2, 3}, []int{3}},
		{[]int{0, 1, 2}, []int{1}}, // back again
	} {
		if got := clocks.unclocked(slices.Clone(step.online)); !slices.Equal(got, step.want) {
			t.Errorf("online %d: without a clock %d, want %d", step.online, got, step.want)
		}
	}
}

func TestListeningPorts(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ports, err := listeningPorts("/proc/self/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	if port := uint16(l.Addr().(*net.TCPAddr).Port); !slices.Contains(ports, port) {
		t.Errorf("port %d, which listens, is not among %v", port, ports)
	}
	if port := uint16(c.LocalAddr().(*net.TCPAddr).Port); slices.Contains(ports, port) {
		t.Errorf("port %d of a client is among those that listen", port)
	}
	if ports, err = listeningPorts(filepath.Join(t.TempDir(), "tcp6")); err != nil || ports != nil {
		t.Errorf("without a table: %v, %v", ports, err)
	}
}
