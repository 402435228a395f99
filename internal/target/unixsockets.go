package target

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// UnixSockets gives the inodes of the Unix sockets in the network namespace of a process (net/unix/af_unix.c,
// unix_seq_show).
func UnixSockets(pid int) (map[uint64]bool, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/net/unix", pid))
	if err != nil {
		return nil, fmt.Errorf("read Unix sockets of process %d: %w", pid, err)
	}
	defer f.Close()
	const inode = 6
	found := map[uint64]bool{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) <= inode {
			continue
		}
		if n, err := strconv.ParseUint(fields[inode], 10, 64); err == nil {
			found[n] = true
		}
	}
	return found, lines.Err()
}
