// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestUpgradeAsUser replaces a process that has given up the rights of root, by
// one that has them until it has taken over.
func TestUpgradeAsUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be another user")
	}
	b := newBelay(t, "user: nobody\n", func(dir string) error { return os.Chmod(dir, 0o711) })
	load := StartLoad(b.addrs, 1, b.admin)
	defer load.Stop()
	for i := range 2 {
		old := b.upgrade(i%2 == 0)
		b.waitGone(patience, old)
		if status, err := os.ReadFile("/proc/" + strconv.Itoa(b.current.PID()) + "/status"); err == nil && !strings.Contains(string(status), "Uid:\t65534") {
			t.Errorf("the new process runs as\n%s", status)
		}
	}
	load.Stop()
	checkTally(t, load)
	b.checkServes()
}
