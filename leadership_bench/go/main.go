// Player of Go's concurrency.Election: the same lines as leadership_bench/players/player.py.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"golang.org/x/sys/unix"
)

const cooldown = 50 * time.Millisecond

type settings struct {
	Host string  `json:"host"`
	Port int     `json:"port"`
	TTL  float64 `json:"ttl"`
}

var (
	output  sync.Mutex
	state   sync.Mutex
	leave   = map[int]chan struct{}{}
	wanted  int
	elected int
)

func printEvent(words ...any) {
	var at unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &at)
	output.Lock()
	defer output.Unlock()
	line := strings.TrimSuffix(fmt.Sprintln(words...), "\n")
	os.Stdout.WriteString(fmt.Sprintf("%s %d.%09d\n", line, at.Sec, at.Nsec))
}

func campaign(client *clientv3.Client, ttl int, key string, index int, session *concurrency.Session) {
	ctx := context.Background()
	leaving := make(chan struct{}, 1)
	state.Lock()
	leave[index] = leaving
	state.Unlock()
	if session == nil {
		opened, err := concurrency.NewSession(client, concurrency.WithTTL(ttl))
		if err != nil {
			printEvent("error", err)
			return
		}
		session = opened
	}
	election := concurrency.NewElection(session, key)
	for {
		if err := election.Campaign(ctx, fmt.Sprintf("candidate-%d", index)); err != nil {
			printEvent("error", err)
			return
		}
		state.Lock()
		select {
		case <-leaving: // from before it was elected
		default:
		}
		elected++
		all := elected == wanted
		many := wanted > 0
		state.Unlock()
		if !many {
			printEvent("elected", index)
		} else if all {
			printEvent("all")
		}
		<-leaving
		if err := election.Resign(ctx); err != nil {
			printEvent("error", err)
			return
		}
		time.Sleep(cooldown)
	}
}

func main() {
	input := bufio.NewScanner(os.Stdin)
	input.Scan()
	var given settings
	if err := json.Unmarshal(input.Bytes(), &given); err != nil {
		printEvent("error", err)
		return
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{fmt.Sprintf("%s:%d", given.Host, given.Port)},
		DialTimeout: 5 * time.Second,
	})
	if err != nil {
		printEvent("error", err)
		return
	}
	ttl := int(given.TTL)
	var shared *concurrency.Session
	printEvent("ready")
	for input.Scan() {
		words := strings.Fields(input.Text())
		switch {
		case len(words) == 3 && words[0] == "join":
			count, _ := strconv.Atoi(words[2])
			for index := 0; index < count; index++ {
				// A session each: within one session, an election has one key.
				go campaign(client, ttl, words[1], index, nil)
			}
		case len(words) == 3 && words[0] == "elections":
			count, _ := strconv.Atoi(words[2])
			state.Lock()
			wanted = count
			state.Unlock()
			if shared, err = concurrency.NewSession(client, concurrency.WithTTL(ttl)); err != nil {
				printEvent("error", err)
				continue
			}
			for index := 0; index < count; index++ {
				go campaign(client, ttl, fmt.Sprintf("%s/%d", words[1], index), index, shared)
			}
		case len(words) == 2 && words[0] == "follow":
			go follow(client, ttl, words[1])
		case len(words) == 1 && words[0] == "resign":
			printEvent("resigning")
			state.Lock()
			for _, leaving := range leave {
				select {
				case leaving <- struct{}{}:
				default:
				}
			}
			state.Unlock()
		}
	}
	// A session that is left behind ends with its lease.
	if shared != nil {
		shared.Close()
	}
	client.Close()
}

func follow(client *clientv3.Client, ttl int, key string) {
	session, err := concurrency.NewSession(client, concurrency.WithTTL(ttl))
	if err != nil {
		printEvent("error", err)
		return
	}
	for answer := range concurrency.NewElection(session, key).Observe(context.Background()) {
		if len(answer.Kvs) > 0 {
			printEvent("leader", string(answer.Kvs[0].Value))
		}
	}
}
