// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"maps"
	"net"
	"reflect"
	"strings"
	"testing"

	"github.com/belay-proxy/belay/proxy"
)

// A counter is a Counter that has counted this.
type counter proxy.Stats

func (*counter) ServeConn(net.Conn)             {}
func (*counter) Shutdown(context.Context) error { return nil }
func (c *counter) Stats() proxy.Stats           { return proxy.Stats(*c) }

// The status has the sums of all handlers, each once, by reason and in total.
func TestRequestsRejected(t *testing.T) {
	t.Parallel()
	one := &counter{Requests: 10, Rejected: 3, RejectedBy: proxy.Rejections{Malformed: 2, TooLarge: 1}}
	two := &counter{Requests: 20, Rejected: 4, RejectedBy: proxy.Rejections{Malformed: 4}}
	none := &counter{Requests: 30}
	r := &run{services: []*Service{{handler: one}, {handler: one}, {handler: two}, {handler: none}}}
	got := r.requests()
	if want := map[string]int64{"malformed": 6, "too_large": 1}; got.Total != 60 || got.Rejected != 7 || !maps.Equal(got.RejectedBy, want) {
		t.Errorf("requests = %+v, want 60, and 7 rejected: %v", got, want)
	}
	r.services = []*Service{{handler: none}}
	if got := r.requests(); got.RejectedBy != nil {
		t.Errorf("RejectedBy = %v, want nil", got.RejectedBy)
	}
}

// No reason is forgotten, and each is called as in the state of a Proxy.
func TestRejectedBy(t *testing.T) {
	t.Parallel()
	var r proxy.Rejections
	want := make(map[string]int64)
	v := reflect.ValueOf(&r).Elem()
	for i := range v.NumField() {
		v.Field(i).SetInt(int64(i + 1))
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		want[name] = int64(i + 1)
	}
	if got := rejectedBy(r); !maps.Equal(got, want) {
		t.Errorf("rejectedBy = %v, want %v", got, want)
	}
}
