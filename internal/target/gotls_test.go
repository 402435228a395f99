package target

import (
	"debug/dwarf"
	"debug/elf"
	"testing"

	"apm-ebpf/internal/target/targettest"
)

// What is told of crypto/tls must be what the debug information says, where there is any.
func TestGoTLS(t *testing.T) {
	eachGo(t, func(t *testing.T, exe string, _ targettest.Toolchain, _ targettest.Build) {
		im, g := openGo(t, exe)
		code, err := im.goCode(g, []string{tlsRead, tlsWrite, tlsHandshake})
		if err != nil {
			t.Fatal(err)
		}
		places := &GoTLS{GoCode: code}
		if err := places.find(); err != nil {
			t.Fatal(err)
		}
		opcode := make([]byte, 4)
		im.file.ReadAt(opcode, int64(places.Read))
		if call := !im.arm64 && opcode[0] == 0xe8 || im.arm64 && opcode[3]&0xfc == 0x94; !call {
			t.Errorf("no call where (*Conn).Read copies: % x", opcode)
		}
		if want, ok := goField(t, exe, "crypto/tls.Conn", "input"); ok && int64(g.TLSInput()) != want {
			t.Errorf("Conn.input at %d, want %d", g.TLSInput(), want)
		}
	})
}

// goField reads the offset of a struct's field.
func goField(t *testing.T, exe, kind, field string) (offset int64, ok bool) {
	t.Helper()
	f, err := elf.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := f.DWARF()
	if err != nil {
		return 0, false
	}
	for r := data.Reader(); ; {
		entry, err := r.Next()
		if err != nil || entry == nil {
			return 0, false
		}
		if entry.Tag != dwarf.TagStructType || entry.Val(dwarf.AttrName) != kind {
			continue
		}
		described, err := data.Type(entry.Offset)
		if err != nil {
			t.Fatal(err)
		}
		for _, member := range described.(*dwarf.StructType).Field {
			if member.Name == field {
				return member.ByteOffset, true
			}
		}
	}
}
