// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package bytebuf_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/belay-proxy/belay/internal/bytebuf"
)

// raceEnabled tells a build with the race detector: there buffers are counted.
var raceEnabled = func() bool {
	b := bytebuf.Get(1)
	defer b.Release()
	return bytebuf.Outstanding() != 0
}()

func TestGet(t *testing.T) {
	tests := []struct{ n, want int }{
		{-1, bytebuf.Small},
		{0, bytebuf.Small},
		{bytebuf.Small, bytebuf.Small},
		{bytebuf.Small + 1, bytebuf.Medium},
		{bytebuf.Medium, bytebuf.Medium},
		{bytebuf.Medium + 1, bytebuf.Large},
		{bytebuf.Large, bytebuf.Large},
		{bytebuf.Large + 1, bytebuf.Large + 1},
	}
	for range 3 { // fresh ones and used ones
		for _, tt := range tests {
			b := bytebuf.Get(tt.n)
			if len(b.B) != 0 || cap(b.B) != tt.want {
				t.Errorf("Get(%d) has length %d and capacity %d, want 0 and %d", tt.n, len(b.B), cap(b.B), tt.want)
			}
			b.B = append(b.B, "used"...)
			b.Release()
		}
	}
}

// A buffer that its owner has replaced does not come back, whatever its size.
func TestReleaseReplaced(t *testing.T) {
	for _, size := range []int{0, 1, bytebuf.Small - 1, bytebuf.Small + 1, bytebuf.Medium, 1 << 20} {
		b := bytebuf.Get(bytebuf.Small)
		b.B = make([]byte, size)
		b.Release()
		for range 5 {
			b := bytebuf.Get(bytebuf.Small)
			if cap(b.B) != bytebuf.Small || len(b.B) != 0 {
				t.Errorf("after one of %d bytes was released: capacity %d, length %d", size, cap(b.B), len(b.B))
			}
			defer b.Release()
		}
	}
}

func TestOutstanding(t *testing.T) {
	before := bytebuf.Outstanding()
	var held []*bytebuf.Buf
	for _, n := range []int{1, bytebuf.Large, bytebuf.Large + 1} {
		held = append(held, bytebuf.Get(n))
	}
	want := before
	if raceEnabled {
		want += 3
	}
	if got := bytebuf.Outstanding(); got != want {
		t.Errorf("Outstanding with three out = %d, want %d", got, want)
	}
	for _, b := range held {
		b.Release()
	}
	if got := bytebuf.Outstanding(); got != before {
		t.Errorf("Outstanding in the end = %d, want %d", got, before)
	}
}

// Who reads a buffer after its release finds garbage, in race builds.
func TestPoison(t *testing.T) {
	if !raceEnabled {
		t.Skip("buffers are poisoned with the race detector only")
	}
	b := bytebuf.Get(1)
	late := append(b.B, "secret"...)
	b.B = late[:2] // what is behind the length is poisoned too
	b.Release()
	if got, want := string(late), "\xdb\xdb\xdb\xdb\xdb\xdb"; got != want {
		t.Errorf("after Release the buffer reads %q, want %q", got, want)
	}
}

// No two owners have the same bytes.
func TestConcurrentOwners(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 500 {
				b := bytebuf.Get([]int{1, bytebuf.Medium, bytebuf.Large}[i%3])
				b.B = append(b.B, byte(g), byte(i))
				if b.B[0] != byte(g) || b.B[1] != byte(i) {
					t.Errorf("owner %d found %v", g, b.B)
				}
				b.Release()
			}
		})
	}
	wg.Wait()
}

func TestGetAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	if got := testing.AllocsPerRun(100, func() { bytebuf.Get(bytebuf.Medium).Release() }); got > 0 {
		t.Errorf("%v allocations for a used buffer, want 0", got)
	}
}

func ExampleGet() {
	b := bytebuf.Get(5)
	defer b.Release()
	b.B = append(b.B, "hello"...)
	fmt.Println(string(b.B), cap(b.B))
	// Output: hello 4096
}

func BenchmarkGet(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		bytebuf.Get(bytebuf.Medium).Release()
	}
}
