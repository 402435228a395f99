package probe

import (
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// MemoryNeeded is how much a control group must allow the agent, bytes: at two CPUs 90 MB when it starts, and what it takes
// later for many services. Since Linux 5.11 the memory of maps counts, before that 60 MB of it did not.
const MemoryNeeded = 160_000_000

// MemoryLimit tells how much memory the control groups of this process allow it, bytes, and by which file below root, "/"
// but in tests. It is 0 where there is no limit, or none that can be read.
func MemoryLimit(root string) (limit uint64, file string) {
	groups, _ := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	limit = math.MaxUint64
	for line := range strings.Lines(string(groups)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3) // number, controllers, group (cgroups(7))
		if len(fields) < 3 {
			continue
		}
		dir, name := "sys/fs/cgroup", "memory.max"
		if fields[1] == "memory" {
			dir, name = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		} else if fields[1] != "" {
			continue
		}
		// In a container the group's name may be that on the host, where dir is the group itself.
		for group := path.Clean("/" + fields[2]); ; group = path.Dir(group) {
			at := path.Join(dir, group, name)
			text, _ := os.ReadFile(filepath.Join(root, at))
			if bytes, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil && bytes < limit {
				limit, file = bytes, "/"+at
			}
			if group == "/" {
				break
			}
		}
	}
	if limit >= 1<<62 { // none, as the first version of control groups says it
		return 0, ""
	}
	return limit, file
}
