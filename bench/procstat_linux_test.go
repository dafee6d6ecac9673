// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const rest = " S 7 5 6 0 -1 4194560 100 0 0 0 250 150 3 4 20 0 1 0 100 1000 200"
	good := procStat{procID{42, 100}, 7, 5, 6, false, 2500 * time.Millisecond, 1500 * time.Millisecond}
	dead := good
	dead.zombie = true
	tests := []struct {
		name, in string
		want     procStat
		wantErr  bool
	}{
		{"plain", "42 (nginx)" + rest, good, false},
		{"odd name", "42 (a) S (b c)" + rest, good, false},
		{"zombie", "42 (nginx)" + strings.Replace(rest, "S", "Z", 1), dead, false},
		{"empty", "", procStat{}, true},
		{"no name", "42 S 7", procStat{}, true},
		{"short", "42 (nginx) S 7 1", procStat{}, true},
		{"parentheses swapped", ") (", procStat{}, true},
		{"not a number", "42 (nginx)" + strings.Replace(rest, "250", "x", 1), procStat{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseStat([]byte(tt.in))
			if got != tt.want || (err != nil) != tt.wantErr {
				t.Errorf("parseStat(%q) = %+v, %v; want %+v, error %t", tt.in, got, err, tt.want, tt.wantErr)
			}
		})
	}
}

// A name in parentheses changes nothing, whatever it contains.
func FuzzParseStat(f *testing.F) {
	f.Add("nginx", " S 7 1 1 0 -1 4194560 100 0 0 0 250 150 3 4 20 0 1 0 100")
	f.Add(") R 1 (", " S 7")
	f.Fuzz(func(t *testing.T, name, rest string) {
		if strings.Contains(rest, ")") {
			return
		}
		got, err := parseStat([]byte("1 (" + name + ")" + rest))
		want, wantErr := parseStat([]byte("1 (x)" + rest))
		if got != want || (err == nil) != (wantErr == nil) {
			t.Errorf("named %q: %+v, %v; named x: %+v, %v", name, got, err, want, wantErr)
		}
	})
}

func TestStatusValue(t *testing.T) {
	const status = "Name:\tnginx\nVmRSS:\t    2048 kB\nEmpty:\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n"
	for name, want := range map[string]int64{
		"VmRSS": 2048, "voluntary_ctxt_switches": 12, "nonvoluntary_ctxt_switches": 3, "Empty": 0, "Vm": 0, "Name": 0,
	} {
		if got := statusValue([]byte(status), name); got != want {
			t.Errorf("statusValue(%s) = %d, want %d", name, got, want)
		}
	}
}

func TestParseBusy(t *testing.T) {
	const stat = "cpu  100 0 0 0 0 0 0 0 0 0\n" +
		"cpu0 1 2 3 1000 5 6 7 8 0 0\n" +
		"cpu1 10 0 0 1000 0 0 10 0 0 0\n" +
		"cpu10 500 0 0 0 0 0 0 0 0 0\n" +
		"intr 1 2 3 4 5 6 7 8 9\n"
	tests := []struct {
		cpus []int
		want time.Duration
	}{
		{nil, 0},
		{[]int{0}, 19 * clockTick}, // 1+2+3+6+7
		{[]int{1}, 20 * clockTick},
		{[]int{0, 1}, 39 * clockTick},
		{[]int{7}, 0},
	}
	for _, tt := range tests {
		if got := parseBusy([]byte(stat), tt.cpus); got != tt.want {
			t.Errorf("parseBusy of %v = %v, want %v", tt.cpus, got, tt.want)
		}
	}
}
