// Command member is a member of a group through franz-go, for interop/groups.py:
//
//	member HOST:PORT TOPIC GROUP [KEY=VALUE...]
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type part struct{ from, to int64 }

type member struct {
	topic string
	mu    sync.Mutex // callbacks and the loop never hold what the other waits for
	owned map[int32]bool
	parts map[int32]part
}

func say(words ...any) {
	os.Stdout.WriteString(fmt.Sprintln(words...))
}

func (m *member) sayOwned() {
	var list []int
	for p := range m.owned {
		list = append(list, int(p))
	}
	sort.Ints(list)
	words := []any{"assigned"}
	for _, p := range list {
		words = append(words, p)
	}
	say(words...)
}

func (m *member) commit(cl *kgo.Client) {
	offsets := map[int32]kgo.EpochOffset{}
	for p, x := range m.parts {
		if x.from < x.to {
			say("commit", p, x.from, x.to)
			offsets[p] = kgo.EpochOffset{Epoch: -1, Offset: x.to}
		}
	}
	if len(offsets) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	records := make([]*kgo.Record, 0, len(offsets))
	for p, o := range offsets {
		records = append(records, &kgo.Record{Topic: m.topic, Partition: p, Offset: o.Offset - 1, LeaderEpoch: -1})
	}
	err := cl.CommitRecords(ctx, records...)
	for p := range offsets {
		x := m.parts[p]
		if err != nil {
			say("failed", p, x.from, x.to, err)
			continue
		}
		say("committed", p, x.from, x.to)
		m.parts[p] = part{x.to, x.to}
	}
}

func (m *member) drop(lost map[string][]int32) {
	for _, p := range lost[m.topic] {
		delete(m.owned, p)
		delete(m.parts, p)
	}
	m.sayOwned()
}

var balancers = map[string]kgo.GroupBalancer{
	"range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(),
	"sticky": kgo.StickyBalancer(), "cooperative-sticky": kgo.CooperativeStickyBalancer(),
}

func (m *member) open(address, group string, words []string) (*kgo.Client, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(address), kgo.ConsumerGroup(group), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(200 * time.Millisecond),
		kgo.FetchMaxWait(100 * time.Millisecond), kgo.RebalanceTimeout(30 * time.Second),
		kgo.MetadataMaxAge(2 * time.Second), kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, added map[string][]int32) {
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, p := range added[m.topic] {
				m.owned[p] = true
			}
			m.sayOwned()
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, cl *kgo.Client, lost map[string][]int32) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.commit(cl)
			m.drop(lost)
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.drop(lost)
		}),
	}
	topics := []string{m.topic}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "name":
			opts = append(opts, kgo.ClientID(value))
		case "session":
			ms, err := strconv.Atoi(value)
			if err != nil {
				return nil, err
			}
			opts = append(opts, kgo.SessionTimeout(time.Duration(ms)*time.Millisecond))
		case "instance":
			opts = append(opts, kgo.InstanceID(value))
		case "strategy":
			opts = append(opts, kgo.Balancers(balancers[value]))
		case "protocol":
			if value == "consumer" {
				opts = append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
			}
		case "regex":
			topics = []string{value}
			opts = append(opts, kgo.ConsumeRegex())
		}
	}
	return kgo.NewClient(append(opts, kgo.ConsumeTopics(topics...))...)
}

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: member HOST:PORT TOPIC GROUP [KEY=VALUE...]")
		os.Exit(2)
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	m := &member{topic: os.Args[2], owned: map[int32]bool{}, parts: map[int32]part{}}
	cl, err := m.open(os.Args[1], os.Args[3], os.Args[4:])
	if err != nil {
		say("error", err)
		os.Exit(1)
	}
	for stop.Err() == nil {
		fetches := cl.PollRecords(stop, 20)
		m.mu.Lock()
		fetches.EachError(func(_ string, _ int32, err error) {
			if stop.Err() == nil {
				say("error", err)
			}
		})
		fetches.EachRecord(func(r *kgo.Record) {
			say("record", r.Partition, r.Offset)
			x, ok := m.parts[r.Partition]
			if !ok || x.from == x.to {
				x.from = r.Offset
			}
			x.to = r.Offset + 1
			m.parts[r.Partition] = x
		})
		m.commit(cl)
		m.mu.Unlock()
		cl.AllowRebalance()
	}
	m.mu.Lock()
	m.commit(cl)
	m.mu.Unlock()
	cl.CloseAllowingRebalance()
}
