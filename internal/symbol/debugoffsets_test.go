package symbol

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// offsetsOf gives what a process of the last row's version would tell.
func offsetsOf(row *Layout) *debugOffsets {
	o := &debugOffsets{Cookie: [8]byte([]byte("xdebugpy")), Version: 0x030000f0 | uint64(row.Minor)<<16}
	o.Code.Filename, o.Code.Name, o.Code.Qualname = uint64(row.CodeFilename), uint64(row.CodeName), uint64(row.CodeQualname)
	o.Code.LineTable, o.Code.FirstLineNo = uint64(row.CodeLineTable), uint64(row.CodeFirstLine)
	o.Object.Type = uint64(row.ObjectType)
	o.Bytes.Length, o.Bytes.Data = uint64(row.BytesSize), uint64(row.BytesData)
	o.Unicode.State, o.Unicode.Length, o.Unicode.ASCIISize = uint64(row.StrState), uint64(row.StrLength), uint64(row.StrASCII)
	return o
}

func TestDebugOffsetsRefused(t *testing.T) {
	for want, spoil := range map[string]func(*debugOffsets){
		"cookie":        func(o *debugOffsets) { o.Cookie[0] = 'y' },
		"they are of":   func(o *debugOffsets) { o.Version = 0x030100f0 },
		"free-threaded": func(o *debugOffsets) { o.FreeThreaded = 1 },
		"too large":     func(o *debugOffsets) { o.Thread.Next = 1 << 40 },
		"outside":       func(o *debugOffsets) { o.Code.Name = 1 << 16 },
	} {
		row := layouts[len(layouts)-1]
		o := offsetsOf(&row)
		if err := row.apply(o); err != nil {
			t.Fatalf("sound offsets: %v", err)
		}
		spoil(o)
		if err := row.apply(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one about %q", err, want)
		}
	}
}

func FuzzDebugOffsets(f *testing.F) {
	var seed bytes.Buffer
	if err := binary.Write(&seed, binary.LittleEndian, offsetsOf(&layouts[len(layouts)-1])); err != nil {
		f.Fatal(err)
	}
	f.Add(seed.Bytes())
	f.Fuzz(func(t *testing.T, raw []byte) {
		var o debugOffsets
		row := layouts[len(layouts)-1]
		if binary.Read(bytes.NewReader(raw), binary.LittleEndian, &o) != nil || row.apply(&o) != nil {
			return
		}
		word(make([]byte, row.CodeSize), row.CodeName)
		if row.CodeName+8 > row.CodeSize || row.StrLength+8 > row.StrASCII {
			t.Errorf("accepted %+v", row)
		}
	})
}
