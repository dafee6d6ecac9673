// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import "sync/atomic"

// A Slot is a place in every Session for one value of type T: what a
// ready-made filter needs to remember per request, without knowing the
// program's own state. Make slots in package variables or constructors; each
// takes a pointer in every request for good.
type Slot[T any] struct{ index int }

var slots atomic.Int32

// NewSlot returns a new slot.
func NewSlot[T any]() Slot[T] { return Slot[T]{int(slots.Add(1)) - 1} }

// Of returns the slot's value of a request. Each request starts with a zero T,
// which is made on the first call.
func (sl Slot[T]) Of(s *Session) *T {
	x := s.x
	for len(x.slots) <= sl.index {
		x.slots = append(x.slots, nil)
	}
	if v, ok := x.slots[sl.index].(*T); ok {
		return v
	}
	v := new(T)
	x.slots[sl.index] = v
	return v
}
