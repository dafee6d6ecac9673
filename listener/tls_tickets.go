// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// How long the secrets of TicketKeys live: each seals tickets until the next
// one is made, and opens them until it is no longer one of the newest. So a
// session can be resumed for 16 to 24 hours, and what was sealed can be read
// by nobody a day later.
const (
	ticketRotation = 8 * time.Hour
	ticketSecretsN = 3
)

// TicketKeys are the secrets by which clients resume their TLS sessions. Each
// policy derives keys of its own from them. A new secret is made every 8
// hours, and three are kept. TicketKeys are safe for concurrent use.
type TicketKeys struct {
	set atomic.Pointer[ticketSecrets] // replaced whole, never modified
	mu  sync.Mutex                    // held while replacing
}

// ticketSecrets are the secrets at one time, the newest first.
type ticketSecrets struct {
	list []ticketSecret
}

type ticketSecret struct {
	made   time.Time
	secret [32]byte
}

// NewTicketKeys returns keys with one new secret.
func NewTicketKeys() *TicketKeys {
	k := new(TicketKeys)
	k.Rotate()
	return k
}

// current returns the secrets of now, with a new one if it is time.
func (k *TicketKeys) current() *ticketSecrets {
	if t := k.set.Load(); !t.due(time.Now()) {
		return t
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := time.Now(); k.set.Load().due(now) {
		k.rotateLocked(now)
	}
	return k.set.Load()
}

// due reports whether the newest secret is too old, or from the future: then
// the clock was wrong when it was made.
func (t *ticketSecrets) due(now time.Time) bool {
	age := now.Sub(t.list[0].made)
	return age >= ticketRotation || age < -ticketRotation
}

// Rotate makes a new secret at once. Tickets sealed with the ones before it
// are still good as long as these are kept. To make all tickets worthless,
// call it three times.
func (k *TicketKeys) Rotate() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.rotateLocked(time.Now())
}

func (k *TicketKeys) rotateLocked(now time.Time) {
	fresh := ticketSecret{made: now}
	rand.Read(fresh.secret[:]) // never fails
	list := []ticketSecret{fresh}
	if old := k.set.Load(); old != nil {
		for _, s := range old.list[:min(len(old.list), ticketSecretsN-1)] {
			if age := now.Sub(s.made); age < ticketSecretsN*ticketRotation && age > -ticketRotation {
				list = append(list, s)
			}
		}
	}
	k.set.Store(&ticketSecrets{list: list})
}

// The form of exported secrets: a version, and for each secret the second in
// which it was made and the secret itself.
const (
	ticketsVersion = 1
	ticketSize     = 8 + 32
)

// Export returns the secrets, for a process that is to resume the same
// sessions. Whoever has them can read what was sent in these: keep them out of
// files and logs.
func (k *TicketKeys) Export() []byte {
	b := []byte{ticketsVersion}
	for _, s := range k.current().list {
		b = binary.BigEndian.AppendUint64(b, uint64(s.made.Unix()))
		b = append(b, s.secret[:]...)
	}
	return b
}

// Import replaces the secrets with exported ones. It changes nothing if it
// returns an error.
func (k *TicketKeys) Import(b []byte) error {
	if len(b) == 0 || b[0] != ticketsVersion {
		return errors.New("import ticket keys: unknown format")
	}
	b = b[1:]
	n := len(b) / ticketSize
	if n < 1 || n > ticketSecretsN || len(b)%ticketSize != 0 {
		return fmt.Errorf("import ticket keys: %d bytes, want 1 to %d times %d", len(b), ticketSecretsN, ticketSize)
	}
	t := new(ticketSecrets)
	for ; len(b) > 0; b = b[ticketSize:] {
		t.list = append(t.list, ticketSecret{
			made:   time.Unix(int64(binary.BigEndian.Uint64(b)), 0),
			secret: [32]byte(b[8:ticketSize]),
		})
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.set.Store(t)
	return nil
}
