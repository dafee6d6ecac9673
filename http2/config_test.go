// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"reflect"
	"strings"
	"testing"
)

// TestConfigDefaults: every field has a default but for those that are off.
func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	off := map[string]bool{"PingInterval": true}
	v := reflect.ValueOf(Config{}.WithDefaults())
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() != off[name] {
			t.Errorf("%s is %v by default", name, v.Field(i))
		}
	}
	if err := v.Interface().(Config).Validate(); err != nil {
		t.Errorf("the defaults are not valid: %v", err)
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		cfg  Config
		want string // the field that is wrong, "" for none
	}{
		{Config{}, ""},
		{Config{MaxStreams: 1}, ""},
		{Config{MaxStreams: -1}, "MaxStreams"},
		{Config{MaxStreams: 10_000}, ""},
		{Config{MaxStreams: 10_001}, "MaxStreams"},
		{Config{MaxHeaderBytes: 1023}, "MaxHeaderBytes"},
		{Config{MaxHeaderBytes: 1 << 20}, ""},
		{Config{MaxHeaderBytes: 1<<20 + 1}, "MaxHeaderBytes"},
		{Config{MaxFields: 10_001}, "MaxFields"},
		{Config{MaxTargetBytes: 255}, "MaxTargetBytes"},
		{Config{MaxTargetBytes: 256}, ""},
		{Config{MaxTargetBytes: 1<<20 + 1}, "MaxTargetBytes"},
		{Config{MaxContinuations: 1001}, "MaxContinuations"},
		{Config{StreamWindow: 65534}, "StreamWindow"},
		{Config{StreamWindow: 65535}, ""},
		{Config{MaxStreamWindow: 16<<20 + 1}, "MaxStreamWindow"},
		{Config{ConnWindow: 64 << 20}, ""},
		{Config{ConnWindow: 64<<20 + 1}, "ConnWindow"},
		{Config{MaxConnWindow: 64 << 20}, ""},
		{Config{MaxConnWindow: 65534}, "MaxConnWindow"},
		{Config{MaxResets: 1<<20 + 1}, "MaxResets"},
		{Config{MaxGlitches: -5}, "MaxGlitches"},
	}
	for _, tt := range tests {
		err := tt.cfg.Validate()
		if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), "http2: "+tt.want+" is ") {
			t.Errorf("%+v: %v, want a complaint about %q", tt.cfg, err, tt.want)
		}
	}
	err := Config{MaxStreams: -1, MaxFields: -1}.Validate()
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("two problems: %v, want both", err)
	}
}
