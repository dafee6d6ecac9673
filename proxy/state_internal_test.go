// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"encoding/json"
	"reflect"
	"testing"
)

// What is accepted has no negative counter, and survives being saved again.
func FuzzParseCounters(f *testing.F) {
	for _, s := range []string{
		"", "{}", "null", `{"requests":7,"rejections":{"late":1}}`, `{"rejections":{"flood":-1}}`, `{"budget":{"requests":5,"retries":2}}`, `{"requests":-1}`,
		`{"budget":{"retries":-1}}`, `{"budget":null}`, `{"requests":1e99}`, `{"requests":9223372036854775807}`, `{"REQUESTS":3}`, "[]", `{"requests":"1"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := parseCounters(in)
		if err != nil {
			return
		}
		r := c.Rejected
		if c.Requests < 0 || min(r.Malformed, r.TooLarge, r.Late, r.Flood) < 0 || c.Budget != nil && (c.Budget.Requests < 0 || c.Budget.Retries < 0) {
			t.Errorf("%q is accepted as %+v", in, c)
		}
		saved, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseCounters(saved); err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%q: %+v is saved as %s and read as %+v, %v", in, c, saved, again, err)
		}
	})
}
