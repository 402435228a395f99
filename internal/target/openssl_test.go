package target

import (
	"os/exec"
	"slices"
	"testing"

	"apm-ebpf/internal/target/targettest"
)

// loadSSL prints where functions of the OpenSSL that _ssl uses are.
const loadSSL = `
import ctypes, json, re, ssl
paths = {line.split()[-1] for line in open("/proc/self/maps")}
library = ctypes.CDLL(next(p for p in paths if re.search(r"/libssl\.so", p)))
print(json.dumps({name: ctypes.cast(library[name], ctypes.c_void_p).value for name in ("SSL_read", "SSL_free")}), flush=True)
input()
`

func TestOpenSSLs(t *testing.T) {
	for _, python := range targettest.Interpreters(t) {
		t.Run(python.String(), func(t *testing.T) {
			child := targettest.Start(t, exec.Command(python.Path, "-c", loadSSL))
			var want map[string]uint64
			answer(t, child, &want)
			p := inspect(t, child.Process.Pid)
			copies, err := p.OpenSSLs(nil)
			if err != nil || len(copies) != 1 {
				t.Fatalf("%d copies, %v", len(copies), err)
			}
			o := copies[0]
			defer o.Close()
			if !samePlace(t, p, o.ProbeFile, o.Free, want["SSL_free"]) {
				t.Errorf("SSL_free at %#x, want %#x", o.Free, want["SSL_free"])
			}
			if o.Read != 0 && !samePlace(t, p, o.ProbeFile, o.Read, want["SSL_read"]) {
				t.Errorf("SSL_read at %#x, want %#x", o.Read, want["SSL_read"])
			}
			if (o.Read == 0 && o.ReadEx == 0) || (o.Write == 0 && o.WriteEx == 0 && o.WriteEx2 == 0) || o.Handshake == 0 || o.Shutdown == 0 {
				t.Errorf("lacks functions: %+v", o)
			}
			if again, err := p.OpenSSLs(map[uint64]bool{o.Inode: true}); err != nil || len(again) > 0 {
				t.Errorf("finds what is known: %+v, %v", again, err)
			}
		})
	}
}

// TestOpenSSLName tells the files that may hold OpenSSL from others.
func TestOpenSSLName(t *testing.T) {
	may := []string{"libssl.so.1.1", "libssl.so.3", "libssl-81ffa89e.so.3", "_ssl.cpython-311-x86_64-linux-gnu.so", "_ssl.so", "_rust.abi3.so"}
	for _, name := range append(slices.Clone(may), "libssl3.so", "libgnutls.so.30", "_sslx.so", "libssl.a") {
		if openSSLFile.MatchString(name) != slices.Contains(may, name) {
			t.Errorf("%s", name)
		}
	}
}
