// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package bytebuf lends out byte slices from pools. It is the only place that
// keeps buffers for reuse.
package bytebuf

import "sync"

// The sizes of buffers: a small one for a request head, a middle one for what
// usually arrives or leaves in one piece, a large one for bodies in motion.
const (
	Small  = 4 << 10
	Medium = 16 << 10
	Large  = 64 << 10
)

var pools = [...]struct {
	size int
	pool sync.Pool
}{
	{size: Small},
	{size: Medium},
	{size: Large},
}

// oversize is the class of buffers that are larger than any pool's.
const oversize = uint8(len(pools))

// A Buf is a byte slice on loan from a pool.
//
// Exactly one goroutine owns a Buf at a time. The owner may read and write B,
// hand the Buf to another owner, or call Release; after either of the last
// two it must not touch B again. Race-enabled builds fill B with 0xdb on
// Release, so that a late reader sees garbage in tests rather than in
// production.
type Buf struct {
	B     []byte
	class uint8 // index into pools, or oversize
}

// Get returns a Buf with len(B) == 0 and cap(B) >= n. It allocates only if
// the pool for that size is empty, or if n exceeds Large.
func Get(n int) *Buf {
	for i := range pools {
		if n <= pools[i].size {
			if b, ok := pools[i].pool.Get().(*Buf); ok {
				outstanding.add(1)
				return b
			}
			outstanding.add(1)
			return &Buf{B: make([]byte, 0, pools[i].size), class: uint8(i)}
		}
	}
	outstanding.add(1)
	return &Buf{B: make([]byte, 0, n), class: oversize}
}

// Release returns b to its pool. B may have been replaced by a longer slice
// meanwhile; then it is left to the garbage collector.
func (b *Buf) Release() {
	outstanding.add(-1)
	poison(b.B)
	if b.class == oversize || cap(b.B) != pools[b.class].size {
		return
	}
	b.B = b.B[:0]
	pools[b.class].pool.Put(b)
}

// Outstanding returns the number of buffers that are on loan, for leak tests.
// It is counted only in race-enabled builds and 0 in others.
func Outstanding() int64 { return outstanding.load() }
