// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

// A feature is something that a peer has to be set up for, beyond what all do.
type feature string

const (
	accessLog  feature = "an access log"
	h2Upstream feature = "HTTP/2 to origins"
	webSocket  feature = "WebSocket"
	gRPC       feature = "gRPC"
	upgrading  feature = "upgrades"
	reloading  feature = "reloads"
)

// needs returns the features without which a peer cannot run s.
func (s *scenario) needs() []feature {
	var list []feature
	add := func(f feature, needed bool) {
		if needed {
			list = append(list, f)
		}
	}
	add(accessLog, s.log)
	add(h2Upstream, s.upstream == toH2)
	add(webSocket, s.upstream == toWebSocket)
	add(gRPC, s.upstream == toGRPC)
	add(reloading, s.event == reloadEvent)
	add(upgrading, s.event == upgradeEvent)
	return list
}

// featureSet returns the set of list.
func featureSet(list ...feature) map[feature]bool {
	set := make(map[feature]bool)
	for _, f := range list {
		set[f] = true
	}
	return set
}

// An upstream is what the origins of a scenario speak.
type upstream uint8

const (
	toH1        upstream = iota
	toH2                 // HTTP/2 without TLS
	toWebSocket          // HTTP/1.1, and echo of messages after the upgrade
	toGRPC               // gRPC without TLS
)

// An event is what happens to the proxy during a measurement.
type event uint8

const (
	noEvent event = iota
	reloadEvent
	upgradeEvent
)
