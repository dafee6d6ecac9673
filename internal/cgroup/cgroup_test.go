// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"testing"
	"testing/fstest"
)

func TestMemoryLimit(t *testing.T) {
	const (
		mount2     = "30 25 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
		mount1     = "40 30 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n41 30 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
		mount1Deep = "41 30 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
	)
	tests := []struct {
		name   string
		group  string
		mounts string
		files  map[string]string
		want   int64 // 0: none
	}{
		{"no control groups", "", "", nil, 0},
		{"v2", "0::/a/b\n", mount2, map[string]string{"sys/fs/cgroup/a/b/memory.max": "1000\n"}, 1000},
		{"v2, parent is lower", "0::/a/b\n", mount2,
			map[string]string{"sys/fs/cgroup/a/b/memory.max": "1000\n", "sys/fs/cgroup/a/memory.max": "900\n"}, 900},
		{"v2, no limit", "0::/a\n", mount2, map[string]string{"sys/fs/cgroup/a/memory.max": "max\n"}, 0},
		{"v2 in a container", "0::/\n", mount2, map[string]string{"sys/fs/cgroup/memory.max": "1000\n"}, 1000},
		{"v2, outside the name space", "0::/../x\n", mount2, map[string]string{"sys/fs/cgroup/memory.max": "1000\n"}, 1000},
		{"v1", "5:cpu:/x\n4:memory:/a\n", mount1,
			map[string]string{"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "2000\n", "sys/fs/cgroup/cpu/x/memory.limit_in_bytes": "1\n"}, 2000},
		{"v1, no limit", "4:memory:/a\n", mount1,
			map[string]string{"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "9223372036854771712\n"}, 0},
		{"v1 in a container", "4:memory:/docker/abc\n", mount1Deep,
			map[string]string{"sys/fs/cgroup/memory/memory.limit_in_bytes": "2000\n"}, 2000},
		{"v1, several controllers", "4:cpu,memory:/a\n", "41 30 0:32 / /cg rw - cgroup cgroup rw,cpu,memory\n",
			map[string]string{"cg/a/memory.limit_in_bytes": "2000\n"}, 2000},
		{"both, v1 has the controller", "4:memory:/a\n0::/\n", mount1 + mount2,
			map[string]string{"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "2000\n"}, 2000},
		{"nonsense", "x\n4:memory\n", "one two - three\n", nil, 0},
		{"nonsense in the file", "0::/a\n", mount2, map[string]string{"sys/fs/cgroup/a/memory.max": "much\n"}, 0},
		{"zero", "0::/a\n", mount2, map[string]string{"sys/fs/cgroup/a/memory.max": "0\n"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := fstest.MapFS{}
			if tt.group != "" {
				root["proc/self/cgroup"] = &fstest.MapFile{Data: []byte(tt.group)}
				root["proc/self/mountinfo"] = &fstest.MapFile{Data: []byte(tt.mounts)}
			}
			for name, text := range tt.files {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
			got, ok := memoryLimit(root)
			if got != tt.want || ok != (tt.want > 0) {
				t.Errorf("memoryLimit = %d, %t, want %d", got, ok, tt.want)
			}
		})
	}
}

// FuzzMemoryLimit checks that no content of the files leads out of the mount,
// or to a limit that is not positive.
func FuzzMemoryLimit(f *testing.F) {
	f.Add("0::/a/b\n", "30 25 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n", "1000\n")
	f.Add("4:memory:/../..\n", "30 25 0:26 /x / rw - cgroup cgroup memory\n", "-1")
	f.Fuzz(func(t *testing.T, group, mounts, limit string) {
		root := fstest.MapFS{
			"proc/self/cgroup":                      {Data: []byte(group)},
			"proc/self/mountinfo":                   {Data: []byte(mounts)},
			"sys/fs/cgroup/a/memory.max":            {Data: []byte(limit)},
			"sys/fs/cgroup/a/memory.limit_in_bytes": {Data: []byte(limit)},
		}
		if n, ok := memoryLimit(root); ok != (n > 0) {
			t.Errorf("memoryLimit = %d, %t", n, ok)
		}
	})
}

func ExampleMemoryLimit() {
	bytes, ok := MemoryLimit()
	fmt.Println(ok == (bytes > 0))
	// Output: true
}
