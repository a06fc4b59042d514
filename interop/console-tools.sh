#!/bin/bash
# Kafka's own console tools, with KAFKA_TOOLS, a directory of jars. A line "ok NAME" or "not ok NAME: why" each.
#   console-tools.sh HOST:PORT    against a server
#   console-tools.sh dump DIR     kafka-dump-log on every file of a data directory
set -u
address=$1
mark=$$
topic=console-$mark
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

tool() { # CLASS ARGS...
    timeout 60 java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$KAFKA_TOOLS/*" "$@" 2> "$work/err"
}
ok() { echo "ok $1"; }
not_ok() { # NAME WHY
    failed=1
    echo "not ok $1: $(tr '\n' ' ' <<< "$2" | cut -c1-300)"
}
# check NAME PATTERN COMMAND...: it ends with 0, and what it printed has a line like PATTERN (none: nothing printed)
check() {
    local name=$1 pattern=$2 out
    shift 2
    if ! out=$("$@"); then
        not_ok "$name" "status not 0: $out $(tail -n 3 "$work/err")"
    elif [[ -n $pattern ]] && ! grep -qE -- "$pattern" <<< "$out"; then
        not_ok "$name" "no line like '$pattern' in: $out"
    else
        ok "$name"
    fi
}
refused() { # NAME PATTERN COMMAND...: it fails, and says PATTERN
    local name=$1 pattern=$2 out
    shift 2
    if out=$("$@"); then
        not_ok "$name" "it should have failed: $out"
    elif ! grep -qE -- "$pattern" <<< "$out$(cat "$work/err")"; then
        not_ok "$name" "no '$pattern' in: $out $(tail -n 5 "$work/err")"
    else
        ok "$name"
    fi
}

dump_all() { # DIR
    local file name deep out
    shopt -s nullglob
    for file in "$1"/*/*.log "$1"/*/*.index "$1"/*/*.timeindex "$1"/*/*.snapshot "$1"/*/*.checkpoint; do
        name="kafka-dump-log $(basename "$(dirname "$file")" | sed -E 's/-[0-9]+-/-/')/$(basename "$file")"
        deep=()
        [[ $file == *.log ]] && deep=(--deep-iteration)
        [[ $file == *__cluster_metadata* ]] && deep+=(--cluster-metadata-decoder)
        if ! out=$(tool org.apache.kafka.tools.DumpLogSegments --files "$file" "${deep[@]}"); then
            not_ok "$name" "$(tail -n 3 "$work/err")"
        elif grep -qiE "$complaints" <<< "$out"; then
            not_ok "$name" "$(grep -iE "$complaints" <<< "$out" | head -n 3)"
        else
            ok "$name"
        fi
    done
}
complaints='mismatch|not valid|isvalid: false|exception|corrupt|non-consecutive|could not'
if [[ $address == dump ]]; then
    dump_all "$2"
    exit "$failed"
fi

topics() { tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$address" "$@"; }
configs() { tool kafka.admin.ConfigCommand --bootstrap-server "$address" "$@"; }
offsets() { tool org.apache.kafka.tools.GetOffsetShell --bootstrap-server "$address" "$@"; }
produce() { tool org.apache.kafka.tools.ConsoleProducer --bootstrap-server "$address" "$@"; }
consume() {
    tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$address" --timeout-ms 20000 "$@"
}

check 'kafka-topics --create' "Created topic $topic" \
    topics --create --topic "$topic" --partitions 2 --config retention.ms=-1
refused 'kafka-topics --create a second time' 'exists' topics --create --topic "$topic" --partitions 2
check 'kafka-topics --list' "^$topic\$" topics --list
check 'kafka-topics --describe' "PartitionCount: 2.*ReplicationFactor: 1.*retention.ms=-1" topics --describe --topic "$topic"
check 'kafka-topics --alter' '' topics --alter --topic "$topic" --partitions 3
check 'kafka-topics --describe, partitions' "Partition: 2.*Leader: [0-9]+.*Isr: [0-9]+" topics --describe --topic "$topic"
refused 'kafka-topics --describe of an unknown one' 'does not exist' topics --describe --topic "no-$topic"

check 'kafka-configs --alter' 'Completed updating config' \
    configs --alter --entity-type topics --entity-name "$topic" --add-config max.message.bytes=70000
check 'kafka-configs --describe' 'max.message.bytes=70000.*DYNAMIC_TOPIC_CONFIG:max.message.bytes=70000' \
    configs --describe --entity-type topics --entity-name "$topic"
check 'kafka-configs --describe --all' 'segment.bytes=1073741824.*DEFAULT_CONFIG:log.segment.bytes=1073741824' \
    configs --describe --all --entity-type topics --entity-name "$topic"
check 'kafka-configs --delete-config' 'Completed updating config' \
    configs --alter --entity-type topics --entity-name "$topic" --delete-config max.message.bytes

one=console-one-$mark
check 'kafka-topics --create of one partition' 'Created topic' topics --create --topic "$one" --partitions 1
for codec in none gzip snappy lz4 zstd; do
    seq 1 20 | sed "s/^/$codec:/" > "$work/lines"
    check "kafka-console-producer: $codec" '' produce --topic "$one" --compression-codec "$codec" \
        --reader-property parse.key=true --reader-property key.separator=: < "$work/lines"
done
consume --topic "$one" --partition 0 --offset earliest --max-messages 100 --formatter-property print.key=true \
    --formatter-property key.separator=: > "$work/read"
for codec in none gzip snappy lz4 zstd; do seq 1 20 | sed "s/^/$codec:/"; done > "$work/lines"
if cmp -s "$work/read" "$work/lines"; then
    ok 'kafka-console-consumer by partition'
else
    not_ok 'kafka-console-consumer by partition' "$(wc -l < "$work/read") lines: $(tail -n 3 "$work/err")"
fi
check 'kafka-console-consumer by offset' '^20$' consume --topic "$one" --partition 0 --offset 99 --max-messages 1
check 'kafka-get-offsets' "^$one:0:100\$" offsets --topic "$one"
check 'kafka-get-offsets, earliest' "^$one:0:0\$" offsets --topic "$one" --time earliest
check 'kafka-get-offsets, max timestamp' "^$one:0:[0-9]+\$" offsets --topic "$one" --time max-timestamp

cat > "$work/delete.json" <<J
{"version": 1, "partitions": [{"topic": "$one", "partition": 0, "offset": 30}]}
J
check 'kafka-delete-records' 'low_watermark: 30' \
    tool org.apache.kafka.tools.DeleteRecordsCommand --bootstrap-server "$address" --offset-json-file "$work/delete.json"
check 'kafka-get-offsets after it' "^$one:0:30\$" offsets --topic "$one" --time -2
check 'kafka-log-dirs' '"partition":"'"$one"'-0"' \
    tool org.apache.kafka.tools.LogDirsCommand --bootstrap-server "$address" --describe --topic-list "$one"
check 'kafka-broker-api-versions' 'Produce\(0\): 0 to 13 \[usable: ' \
    tool org.apache.kafka.tools.BrokerApiVersionsCommand --bootstrap-server "$address"
check 'kafka-cluster cluster-id' 'Cluster ID: .{22}' \
    tool org.apache.kafka.tools.ClusterTool cluster-id --bootstrap-server "$address"
check 'kafka-producer-perf-test' '1000 records sent' \
    tool org.apache.kafka.tools.ProducerPerformance --topic "$one" --num-records 1000 --record-size 200 --throughput -1 \
    --bootstrap-server "$address"

check 'kafka-topics --delete' '' topics --delete --topic "$topic"
refused 'kafka-topics --delete a second time' 'does not exist' topics --delete --topic "$topic"
exit "$failed"
