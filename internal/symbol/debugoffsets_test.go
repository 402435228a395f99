package symbol

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// offsetsOf gives what a process of the row's version would tell.
func offsetsOf(row *Layout) (names []string, words []uint64) {
	names = strings.Fields(debugFields[row.Minor])
	fields := row.fields()
	for _, name := range names {
		word := uint64(0)
		switch name {
		case "cookie":
			word = debugCookie
		case "version":
			word = 0x030000f0 | uint64(row.Minor)<<16
		case "free-threaded":
			if row.FreeThreaded {
				word = 1
			}
		default:
			if field := fields[name]; field != nil {
				word = uint64(*field)
			}
		}
		words = append(words, word)
	}
	return names, words
}

func TestDebugFieldsAreKnown(t *testing.T) {
	for minor, text := range debugFields {
		known := (&Layout{}).fields()
		for _, name := range []string{"-", "cookie", "version", "free-threaded"} {
			known[name] = nil
		}
		for _, name := range strings.Fields(text) {
			if _, ok := known[name]; !ok {
				t.Errorf("3.%d: nothing takes %s", minor, name)
			}
		}
	}
}

func TestDebugOffsetsRefused(t *testing.T) {
	for _, row := range layouts {
		if debugFields[row.Minor] == "" {
			continue
		}
		other := uint64(1)
		if row.FreeThreaded {
			other = 0
		}
		for want, spoil := range map[string]struct {
			field string
			word  uint64
		}{
			"cookie":        {"cookie", 1},
			"they are of":   {"version", 0x030100f0},
			"free-threaded": {"free-threaded", other},
			"too large":     {"thread.next", 1 << 40},
			"outside":       {"name", 1 << 16},
		} {
			t.Run(fmt.Sprint(row.Minor, " ", row.FreeThreaded, " ", want), func(t *testing.T) {
				names, words := offsetsOf(&row)
				right := row
				if err := right.apply(names, words, row.Minor); err != nil {
					t.Fatalf("sound offsets: %v", err)
				}
				for i, name := range names {
					if name == spoil.field {
						words[i] = spoil.word
					}
				}
				if err := right.apply(names, words, row.Minor); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want one about %q", err, want)
				}
			})
		}
	}
}

func FuzzDebugOffsets(f *testing.F) {
	last := layouts[len(layouts)-1]
	names, words := offsetsOf(&last)
	var seed []byte
	for _, word := range words {
		seed = binary.LittleEndian.AppendUint64(seed, word)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, raw []byte) {
		row := last
		var words []uint64
		for ; len(raw) >= 8 && len(words) < len(names); raw = raw[8:] {
			words = append(words, binary.LittleEndian.Uint64(raw))
		}
		if row.apply(names, words, row.Minor) != nil {
			return
		}
		if row.CodeName+8 > row.CodeSize || row.StrLength+8 > row.StrASCII {
			t.Errorf("accepted %+v", row)
		}
	})
}

// A version that is not known yet is read as the last one that is.
func TestDebugOffsetsOfNewer(t *testing.T) {
	last := layouts[len(layouts)-1]
	names, words := offsetsOf(&last)
	for i, name := range names {
		if name == "version" {
			words[i] += 1 << 16
		}
	}
	row := last
	if err := row.apply(names, words, last.Minor+1); err != nil {
		t.Error(err)
	}
	if row.Source = last.Source; row != last {
		t.Errorf("got %+v\nwant %+v", row, last)
	}
	if err := row.apply(names, words, last.Minor); err == nil {
		t.Error("taken for the last version itself")
	}
}
