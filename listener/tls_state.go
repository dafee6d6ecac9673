// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"encoding/json"
	"errors"
)

// tlsState is what a TLS handler passes on to the process that replaces it.
type tlsState struct {
	Tickets []byte `json:"tickets,omitempty"`
	Handler []byte `json:"handler,omitempty"` // state of the other handler
}

// stateful is a handler with state that outlasts an upgrade.
type stateful interface {
	SaveState() ([]byte, error)
	RestoreState([]byte) error
}

// Handler returns the handler that gets the connections.
func (t *TLS) Handler() Handler { return t.handler }

// SaveState returns the secrets of session tickets, so that clients can resume
// their sessions with the process that replaces this one, and the state of the
// other handler, if it has any.
func (t *TLS) SaveState() ([]byte, error) {
	var s tlsState
	var err error
	if k := t.cfg.TicketKeys; k != nil && !t.cfg.NoTickets {
		s.Tickets = k.Export()
	}
	if h, ok := t.handler.(stateful); ok {
		s.Handler, err = h.SaveState()
	}
	b, jsonErr := json.Marshal(s)
	return b, errors.Join(err, jsonErr)
}

// RestoreState goes on with what SaveState has returned. It is to be called
// before the first connection.
func (t *TLS) RestoreState(state []byte) error {
	var s tlsState
	err := json.Unmarshal(state, &s)
	if err != nil {
		return err
	}
	if k := t.cfg.TicketKeys; k != nil && !t.cfg.NoTickets && s.Tickets != nil {
		err = k.Import(s.Tickets)
	}
	if h, ok := t.handler.(stateful); ok && s.Handler != nil {
		err = errors.Join(err, h.RestoreState(s.Handler))
	}
	return err
}
