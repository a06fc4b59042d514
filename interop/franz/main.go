// Command franz checks a server with franz-go, a stock Go client: franz HOST:PORT [--no-restart].
//
// A line "ok NAME", "not ok NAME: why" or "skip NAME: why" a check. For a restart it prints RESTART and
// waits for a line on standard input.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	bootstrap string
	mark      = fmt.Sprint(os.Getpid())
	failed    int
)

func patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 60*time.Second)
}

func check(name string, run func() error) {
	if err := run(); err != nil {
		failed++
		fmt.Printf("not ok %s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	fmt.Printf("ok %s\n", name)
}

func client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(bootstrap)}, opts...)...)
}

func admin() (*kadm.Client, error) {
	cl, err := client()
	if err != nil {
		return nil, err
	}
	return kadm.NewClient(cl), nil
}

func topic(what string, partitions int32, configs map[string]*string) (string, error) {
	adm, err := admin()
	if err != nil {
		return "", err
	}
	defer adm.Close()
	ctx, cancel := patience()
	defer cancel()
	name := "franz-" + what + "-" + mark
	_, err = adm.CreateTopic(ctx, partitions, 1, configs, name)
	return name, err
}

// read returns every record of partition 0 from an offset to the end that it has now.
func read(name string, start int64) ([]*kgo.Record, error) {
	adm, err := admin()
	if err != nil {
		return nil, err
	}
	defer adm.Close()
	ctx, cancel := patience()
	defer cancel()
	ends, err := adm.ListEndOffsets(ctx, name)
	if err != nil {
		return nil, err
	}
	end, _ := ends.Lookup(name, 0)
	if end.Err != nil {
		return nil, end.Err
	}
	cl, err := client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: {0: kgo.NewOffset().At(start)}}))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	var out []*kgo.Record
	for next := start; next < end.Offset; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return out, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			out = append(out, r)
			next = r.Offset + 1
		})
	}
	return out, nil
}

func send(cl *kgo.Client, name, word string, from, to int) error {
	ctx, cancel := patience()
	defer cancel()
	var records []*kgo.Record
	for i := from; i < to; i++ {
		records = append(records, &kgo.Record{Topic: name, Key: []byte(fmt.Sprint("k", i)), Value: []byte(fmt.Sprintf("%s-%d", word, i))})
	}
	return cl.ProduceSync(ctx, records...).FirstErr()
}

func expectValues(records []*kgo.Record, word string, count int) error {
	if len(records) != count {
		return fmt.Errorf("%d records instead of %d", len(records), count)
	}
	for i, r := range records {
		if string(r.Value) != fmt.Sprintf("%s-%d", word, i) || r.Offset != int64(i) {
			return fmt.Errorf("record %d: offset %d value %s", i, r.Offset, r.Value)
		}
	}
	return nil
}

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}
var codecNames = []string{"none", "gzip", "snappy", "lz4", "zstd"}

func codec(name, acksName string) error {
	acks := map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck(), "all": kgo.AllISRAcks()}[acksName]
	tp, err := topic(name+"-acks"+acksName, 1, nil)
	if err != nil {
		return err
	}
	opts := []kgo.Opt{kgo.ProducerBatchCompression(codecs[name]), kgo.RequiredAcks(acks)}
	if acksName != "all" {
		opts = append(opts, kgo.DisableIdempotentWrite())
	}
	cl, err := client(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := send(cl, tp, name, 0, 200); err != nil {
		return err
	}
	var records []*kgo.Record
	for i := 0; i < 50; i++ {
		if records, err = read(tp, 0); err != nil || len(records) == 200 || acksName != "0" {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	return expectValues(records, name, 200)
}

func topics() error {
	name, err := topic("create", 3, nil)
	if err != nil {
		return err
	}
	if _, err = topic("create", 3, nil); !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("a second time: %v", err)
	}
	adm, err := admin()
	if err != nil {
		return err
	}
	defer adm.Close()
	ctx, cancel := patience()
	defer cancel()
	details, err := adm.ListTopics(ctx, name)
	if err != nil || len(details[name].Partitions) != 3 {
		return fmt.Errorf("listed: %v %v", details[name], err)
	}
	if _, err = adm.CreatePartitions(ctx, 2, name); err != nil {
		return err
	}
	cluster, err := adm.BrokerMetadata(ctx)
	if err != nil || len(cluster.Brokers) != 1 || cluster.Cluster == "" {
		return fmt.Errorf("cluster: %v %v", cluster, err)
	}
	answers, err := adm.DeleteTopics(ctx, name)
	if err != nil {
		return err
	}
	return answers.Error()
}

func headers() error {
	name, err := topic("headers", 1, nil)
	if err != nil {
		return err
	}
	cl, err := client()
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := patience()
	defer cancel()
	one := &kgo.Record{Topic: name, Key: []byte("k"), Value: []byte("v"), Headers: []kgo.RecordHeader{
		{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}, {Key: "null"}}}
	two := &kgo.Record{Topic: name, Key: []byte("k")}
	if err := cl.ProduceSync(ctx, one, two).FirstErr(); err != nil {
		return err
	}
	records, err := read(name, 0)
	if err != nil {
		return err
	}
	if len(records) != 2 || len(records[0].Headers) != 3 || records[0].Headers[2].Value != nil || records[1].Value != nil {
		return fmt.Errorf("read back: %v", records)
	}
	return nil
}

func large() error {
	size := "12000000"
	name, err := topic("large", 1, map[string]*string{"max.message.bytes": &size})
	if err != nil {
		return err
	}
	value := make([]byte, 8000000)
	rand.New(rand.NewSource(1)).Read(value)
	for _, codec := range codecNames {
		cl, err := client(kgo.ProducerBatchCompression(codecs[codec]), kgo.ProducerBatchMaxBytes(12000000))
		if err != nil {
			return err
		}
		ctx, cancel := patience()
		err = cl.ProduceSync(ctx, &kgo.Record{Topic: name, Value: value}).FirstErr()
		cancel()
		cl.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", codec, err)
		}
	}
	records, err := read(name, 0)
	if err != nil {
		return err
	}
	for _, r := range records {
		if !bytes.Equal(r.Value, value) {
			return fmt.Errorf("record %d differs", r.Offset)
		}
	}
	if len(records) != len(codecNames) {
		return fmt.Errorf("%d records", len(records))
	}
	return nil
}

func offsets() error {
	forever := "-1"
	name, err := topic("offsets", 1, map[string]*string{"retention.ms": &forever})
	if err != nil {
		return err
	}
	cl, err := client()
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := patience()
	defer cancel()
	for i := int64(0); i < 10; i++ {
		r := &kgo.Record{Topic: name, Value: []byte("v"), Timestamp: time.UnixMilli(1700000000000 + i*1000)}
		if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
			return err
		}
	}
	adm := kadm.NewClient(cl)
	listed, err := adm.ListOffsetsAfterMilli(ctx, 1700000004500, name)
	if err != nil {
		return err
	}
	if o, _ := listed.Lookup(name, 0); o.Offset != 5 {
		return fmt.Errorf("by time: offset %d", o.Offset)
	}
	trim := kadm.Offsets{}
	trim.AddOffset(name, 0, 4, -1)
	if _, err := adm.DeleteRecords(ctx, trim); err != nil {
		return err
	}
	starts, err := adm.ListStartOffsets(ctx, name)
	if err != nil {
		return err
	}
	if o, _ := starts.Lookup(name, 0); o.Offset != 4 {
		return fmt.Errorf("start: offset %d", o.Offset)
	}
	records, err := read(name, 7)
	if err != nil || len(records) != 3 {
		return fmt.Errorf("from 7: %d records, %v", len(records), err)
	}
	return nil
}

func restart() error {
	name, err := topic("restart", 1, nil)
	if err != nil {
		return err
	}
	cl, err := client(kgo.ProducerLinger(2 * time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := send(cl, name, "r", 0, 500); err != nil {
		return err
	}
	results := make(chan error, 200)
	ctx, cancel := patience()
	defer cancel()
	for i := 500; i < 700; i++ {
		r := &kgo.Record{Topic: name, Value: []byte(fmt.Sprintf("r-%d", i))}
		cl.Produce(ctx, r, func(_ *kgo.Record, err error) { results <- err })
	}
	fmt.Println("RESTART")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	for i := 500; i < 700; i++ {
		if err := <-results; err != nil {
			return err
		}
	}
	if err := send(cl, name, "r", 700, 1000); err != nil {
		return err
	}
	records, err := read(name, 0)
	if err != nil {
		return err
	}
	if err := expectValues(records, "r", 1000); err != nil {
		return err
	}
	for _, codec := range codecNames {
		records, err := read("franz-"+codec+"-acksall-"+mark, 0)
		if err != nil {
			return err
		}
		if err := expectValues(records, codec, 200); err != nil {
			return fmt.Errorf("%s: %w", codec, err)
		}
	}
	return nil
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: franz HOST:PORT [--no-restart]")
		os.Exit(2)
	}
	bootstrap = os.Args[1]
	check("create, grow, list and delete topics; cluster", topics)
	for _, name := range codecNames {
		for _, acks := range []string{"0", "1", "all"} {
			check("produce and read back: "+name+", acks="+acks, func() error { return codec(name, acks) })
		}
	}
	check("headers, null keys, tombstones", headers)
	check("large messages with every codec", large)
	check("offsets by time, delete records, read from the middle", offsets)
	if len(os.Args) < 3 {
		check("a restart in the middle of an idempotent producer; all codecs read back", restart)
	} else {
		fmt.Println("skip a restart in the middle of an idempotent producer: not our broker")
	}
	if failed > 0 {
		os.Exit(1)
	}
}
