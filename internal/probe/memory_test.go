package probe

import (
	"os"
	"path/filepath"
	"testing"
)

// TestMemoryLimit reads the limits of control groups of both versions, above and in a container.
func TestMemoryLimit(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		limit uint64
		file  string
	}{
		"none": {map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n"}, 0, ""},
		"parent's": {map[string]string{
			"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": "1000\n", "sys/fs/cgroup/a/b/memory.max": "2000\n",
		}, 1000, "/sys/fs/cgroup/a/memory.max"},
		"container": {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "3000\n"}, 3000, "/sys/fs/cgroup/memory.max"},
		"first version": {map[string]string{
			"proc/self/cgroup":                                 "2:cpu:/x\n4:memory:/docker/c\n0::/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":       "4000\n",
			"sys/fs/cgroup/memory/other/memory.limit_in_bytes": "5\n",
		}, 4000, "/sys/fs/cgroup/memory/memory.limit_in_bytes"},
		"first version without": {map[string]string{
			"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 0, ""},
	} {
		root := t.TempDir()
		for name, text := range test.files {
			path := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if limit, file := MemoryLimit(root); limit != test.limit || file != test.file {
			t.Errorf("%s: %d by %q, want %d by %q", name, limit, file, test.limit, test.file)
		}
	}
}
