// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestLimitsValidate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		lim  Limits
		want []string // in the message
	}{
		{Limits{}, nil},
		{Limits{}.withDefaults(), nil},
		{Limits{MaxHeadBytes: 1024, MaxFields: 1, MaxTargetBytes: 256, MaxChunkExtBytes: 1, MaxTrailerBytes: 1}, nil},
		{Limits{MaxHeadBytes: 1 << 20, MaxFields: 10_000, MaxTargetBytes: 1 << 20, MaxChunkExtBytes: 1 << 20, MaxTrailerBytes: 1 << 20}, nil},
		{Limits{MaxHeadBytes: 1023}, []string{"MaxHeadBytes is 1023, want 1024 to 1048576"}},
		{Limits{MaxHeadBytes: -1}, []string{"MaxHeadBytes is -1"}},
		{
			Limits{MaxHeadBytes: 1<<20 + 1, MaxFields: 10_001, MaxTargetBytes: 255, MaxChunkExtBytes: -1, MaxTrailerBytes: 1<<20 + 1},
			[]string{"MaxHeadBytes", "MaxFields", "MaxTargetBytes", "MaxChunkExtBytes", "MaxTrailerBytes"},
		},
	}
	for _, tt := range tests {
		err := tt.lim.Validate()
		if (err == nil) != (tt.want == nil) {
			t.Errorf("%+v: Validate = %v, want %q", tt.lim, err, tt.want)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: Validate = %v, want %q", tt.lim, err, want)
			}
		}
	}
}

// Every field has a default, and what is set stays.
func TestWithDefaults(t *testing.T) {
	t.Parallel()
	optional := map[string]bool{"MaxRequests": true, "Preface": true, "AllowInvalidContentLength": true}
	check := func(v reflect.Value) {
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; v.Field(i).IsZero() && !optional[name] {
				t.Errorf("%s.%s has no default", v.Type(), name)
			}
		}
	}
	server := ServerConfig{}.WithDefaults()
	check(reflect.ValueOf(server))
	check(reflect.ValueOf(server.Limits))
	check(reflect.ValueOf(ClientConfig{}.WithDefaults()))
	if server.Draining() {
		t.Error("Draining() is true by default")
	}
	set := ServerConfig{IdleTimeout: -1, HeadTimeout: time.Minute, Limits: Limits{MaxFields: 7}}.WithDefaults()
	if set.IdleTimeout != -1 || set.HeadTimeout != time.Minute || set.MaxFields != 7 {
		t.Errorf("what was set has changed: %+v", set)
	}
	if c := (ClientConfig{ReadTimeout: -1}).WithDefaults(); c.ReadTimeout != -1 {
		t.Errorf("ReadTimeout is %v, want -1", c.ReadTimeout)
	}
}
