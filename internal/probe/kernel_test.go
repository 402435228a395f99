package probe

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// open attaches the programs, to a kernel that lacks what is told. Without root there is nothing to test.
func open(t *testing.T, lacks lacks) *Probe {
	t.Helper()
	if os.Geteuid() != 0 && os.Getenv("APM_EBPF_REQUIRE_BPF") != "1" {
		t.Skip("needs root to load BPF programs")
	}
	p, err := Open(Config{Frequency: 100, SampleEvery: 1, lacks: lacks})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// TestFallbacks sees the same events of a connection whatever the kernel lacks.
func TestFallbacks(t *testing.T) {
	for name, lacks := range map[string]lacks{
		"none":    {},
		"sockets": {sockets: true},
		"types":   {types: true},
		"link":    {link: true},
		"hold":    {hold: true},
		"ticks":   {ticks: true},
		"all":     {types: true, sockets: true, link: true, multi: true, hold: true, ticks: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := open(t, lacks)
			if err := p.LoadAll(); err != nil {
				t.Error(err)
			}
			server := listen(t)
			if err := p.AddPython(os.Getpid(), Python{}); err != nil {
				t.Fatal(err)
			}
			if err := p.SetSampling(true); err != nil {
				t.Fatal(err)
			}
			exchange(t, server)
			expect(t, p, []seen{
				{kind: KindOpen},
				{KindRecv, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", Begins | Sampled},
				{KindSend, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Sampled},
				{KindClose, "", WriteEnd},
			})
		})
	}
}

// TestSamples has stacks taken of a thread that computes while a request is open, by the kernel's ticks or by clocks.
func TestSamples(t *testing.T) {
	for name, lacks := range map[string]lacks{
		"ticks":               {},
		"ticks without types": {types: true},
		"clocks":              {ticks: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := open(t, lacks)
			p.timer.period = 4 * tick()
			if !lacks.ticks {
				if err := p.timer.useTicks(p.objects.TickHandler, p.objects.TickSamples); err != nil || p.timer.ticks == nil {
					t.Fatal("ticks take no samples:", err)
				}
			}
			l := listen(t)
			if err := p.AddPython(os.Getpid(), Python{}); err != nil {
				t.Fatal(err)
			}
			if err := p.SetSampling(true); err != nil {
				t.Fatal(err)
			}
			client, server := request(t, l)
			defer client.Close()
			defer server.Close()
			const want, most = 20, 10 * time.Second
			samples := 0
			for begun := time.Now(); samples < want && time.Since(begun) < most; {
				err := p.Drain(func(e *Event) {
					if e.Kind == KindSample {
						samples++
					}
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if samples < want {
				t.Errorf("%d samples of a thread that computes", samples)
			}
		})
	}
}

// TestForget ends a connection on a Unix socket while a request is open there: no stacks are taken from then on.
func TestForget(t *testing.T) {
	p := open(t, lacks{})
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := p.AddPython(os.Getpid(), Python{}); err != nil {
		t.Fatal(err)
	}
	if err := p.SetSampling(true); err != nil {
		t.Fatal(err)
	}
	client, server := request(t, l)
	var connection, inode uint64
	stacks := func() (n int) {
		time.Sleep(10 * time.Millisecond) // which leaves the CPU, unless that is so busy that they pass before
		err := p.Drain(func(e *Event) {
			switch e.Kind {
			case KindOpen:
				connection, inode = e.Conn().Connection, e.Conn().Inode
			case KindSwitchOut:
				n++
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	n := 0
	for range 100 {
		if n = stacks(); n > 0 {
			break
		}
	}
	if n == 0 || inode == 0 {
		t.Fatalf("%d stacks while a request is open, on the socket with inode %d", n, inode)
	}
	client.Close()
	server.Close()
	forget := func(inode uint64) (known bool) {
		if err := p.Forget(connection, inode); err != nil {
			t.Fatal(err)
		}
		var c apmConn
		return p.objects.Conns.Lookup(connection, &c) == nil
	}
	if !forget(inode + 1) {
		t.Error("forgets the connection that has the name now")
	}
	if forget(inode) {
		t.Error("does not forget the connection")
	}
	stacks() // of before
	if n := stacks(); n != 0 {
		t.Errorf("%d stacks after the last connection was forgotten", n)
	}
}

// TestSweepListeners takes back ports on which nobody listens, once there are many.
func TestSweepListeners(t *testing.T) {
	p := open(t, lacks{})
	server := listen(t)
	if err := p.AddPython(os.Getpid(), Python{}); err != nil {
		t.Fatal(err)
	}
	listens := func(l apmListener) bool {
		var is uint8
		return p.objects.Listeners.Lookup(l, &is) == nil
	}
	namespace, err := NetNamespace(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	now := apmListener{Net: namespace, Port: uint32(server.Addr().(*net.TCPAddr).Port)}
	old, foreign := apmListener{Net: namespace, Port: 1}, apmListener{Net: 1, Port: now.Port}
	for _, l := range []apmListener{old, foreign} {
		p.objects.Listeners.Put(l, uint8(1))
	}
	sweep := func() {
		t.Helper()
		if err := p.SweepListeners(); err != nil {
			t.Fatal(err)
		}
	}
	if sweep(); !listens(now) || !listens(old) || !listens(foreign) {
		t.Error("few ports: some were taken back")
	}
	for i := range p.objects.Listeners.MaxEntries() / 2 {
		p.objects.Listeners.Put(apmListener{Net: 2, Port: i}, uint8(1))
	}
	if sweep(); !listens(now) || listens(old) || listens(foreign) {
		t.Errorf("after the sweep: that which listens %v, others %v, %v", listens(now), listens(old), listens(foreign))
	}
}

// TestTooManyListeners goes on without the ports that do not fit, and counts them, until there is room.
func TestTooManyListeners(t *testing.T) {
	p := open(t, lacks{})
	listen(t)
	unheard := func() uint64 {
		t.Helper()
		losses, err := p.Losses()
		if err != nil {
			t.Fatal(err)
		}
		return losses.Conns
	}
	for i := range p.objects.Listeners.MaxEntries() {
		p.objects.Listeners.Put(apmListener{Net: 2, Port: i}, uint8(1))
	}
	if err := p.AddPython(os.Getpid(), Python{}); err != nil || unheard() == 0 {
		t.Errorf("the ports of a process do not fit: %v, %d counted", err, unheard())
	}
	if err := p.SweepListeners(); err != nil || unheard() > 0 {
		t.Errorf("there is room again: %v, %d counted", err, unheard())
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// request has a request read on a connection of its own.
func request(t *testing.T, l net.Listener) (client, server net.Conn) {
	t.Helper()
	client, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// exchange serves one request on a connection of its own, with a vectored write as an answer.
func exchange(t *testing.T, l net.Listener) {
	t.Helper()
	client, server := request(t, l)
	defer client.Close()
	answer := net.Buffers{[]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"), []byte("ok")}
	if _, err := answer.WriteTo(server); err != nil {
		t.Fatal(err)
	}
	server.Close()
}

type seen struct {
	kind  Kind
	data  string
	flags uint32
}

// expect waits for the events of connections and compares them.
func expect(t *testing.T, p *Probe, want []seen) {
	t.Helper()
	var have []seen
	for end := time.Now().Add(5 * time.Second); len(have) < len(want) && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		err := p.Drain(func(e *Event) {
			switch e.Kind {
			case KindOpen:
				have = append(have, seen{kind: e.Kind})
			case KindClose:
				have = append(have, seen{kind: e.Kind, flags: uint32(e.Conn().Flags)})
			case KindRecv, KindSend:
				head, _ := e.Data()
				have = append(have, seen{e.Kind, string(head), e.IO().Flags})
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(have) != len(want) {
		t.Fatalf("events %+v, want %+v", have, want)
	}
	for i := range want {
		if have[i] != want[i] {
			t.Errorf("event %d is %+v, want %+v", i, have[i], want[i])
		}
	}
}

// TestBTFFile needs no BTF of the kernel's own where a file brings it.
func TestBTFFile(t *testing.T) {
	open(t, lacks{}).Close()
	p, err := Open(Config{Frequency: 100, BTF: kernelBTF})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if !p.kernel.lacks.types {
		t.Error("takes a given file for the kernel's own")
	}
	if _, err := Open(Config{BTF: os.Args[0]}); err == nil || errors.Is(err, errNoBTF) {
		t.Errorf("a program without BTF gives %v", err)
	}
}
