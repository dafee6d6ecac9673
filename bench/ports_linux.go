// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// freeAddress returns an address on 127.0.0.1 that was free a moment ago, with
// a port that the kernel gives to no connection.
func freeAddress() (string, error) {
	const lowest = 10_000
	first := 32_768
	if data, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		if fields := strings.Fields(string(data)); len(fields) > 0 {
			first, _ = strconv.Atoi(fields[0])
		}
	}
	var err error
	for range 100 {
		port := 0 // any, if there are none below the range
		if first > lowest {
			port = lowest + rand.IntN(first-lowest)
		}
		var ln net.Listener
		if ln, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			defer ln.Close()
			return ln.Addr().String(), nil
		}
	}
	return "", fmt.Errorf("find a free port: %w", err)
}

// listens reports whether a process of the tree holds a socket that listens on
// addr, an IPv4 address with a port.
func (t *procTree) listens(addr string) (bool, error) {
	data, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return false, err
	}
	want, err := netip.ParseAddrPort(addr)
	if err != nil {
		return false, err
	}
	inodes := listenInodes(string(data), want)
	if err := t.walk(); err != nil {
		return false, err
	}
	for _, pid := range t.pids() {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, file := range files {
			if link, err := os.Readlink(file); err == nil && slices.Contains(inodes, link) {
				return true, nil
			}
		}
	}
	return false, nil
}

// listenInodes returns, in the form of links in /proc/PID/fd, the sockets that
// listen on want or on its port of all addresses, of the text of /proc/net/tcp.
func listenInodes(text string, want netip.AddrPort) []string {
	const localField, stateField, inodeField, listening = 1, 3, 9, "0A"
	var inodes []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) <= inodeField || fields[stateField] != listening {
			continue
		}
		local, ok := parseProcAddr(fields[localField])
		if ok && local.Port() == want.Port() && (local.Addr() == want.Addr() || local.Addr().IsUnspecified()) {
			inodes = append(inodes, "socket:["+fields[inodeField]+"]")
		}
	}
	return inodes
}

// parseProcAddr parses an IPv4 address as in /proc/net/tcp: the address as a
// number of the machine's byte order and the port, both hexadecimal.
func parseProcAddr(s string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(s, ":")
	a, err1 := strconv.ParseUint(host, 16, 32)
	p, err2 := strconv.ParseUint(port, 16, 16)
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], uint32(a))
	return netip.AddrPortFrom(netip.AddrFrom4(b), uint16(p)), err1 == nil && err2 == nil
}
