#!/bin/bash
# Kafka's own console tools on groups, with KAFKA_TOOLS, a directory of jars. A line "ok NAME" or "not ok NAME: why" each.
#   group-tools.sh HOST:PORT
# TRANSCRIPT names a file for what they print, with what differs from run to run taken out: of two brokers it is the same.
set -u
address=$1
mark=$$
topic=tools-$mark
work=$(mktemp -d)
consumers=()
failed=0

stop_consumers() {
    local pid
    for pid in ${consumers[@]+"${consumers[@]}"}; do kill "$pid" 2> /dev/null; done
    for pid in ${consumers[@]+"${consumers[@]}"}; do wait "$pid" 2> /dev/null; done
    consumers=()
}
trap 'stop_consumers; rm -rf "$work"' EXIT

java_tool() { exec java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$KAFKA_TOOLS/*" "$@"; }
tool() { (java_tool "$@") 2> "$work/err"; }
ok() { echo "ok $1"; }
not_ok() { # NAME WHY
    failed=1
    echo "not ok $1: $(tr '\n' ' ' <<< "$2" | cut -c1-600)"
}
plain() { # what stays the same from run to run
    sed -E -e "s/$mark/MARK/g" -e 's/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/UUID/g' \
        -e '/^GROUP/!s/(^| )[0-9a-zA-Z_-]{22}( |$)/\1UUID\2/g' -e 's#/?127\.0\.0\.1(:[0-9]+)?#HOST#g' \
        -e 's/localhost:[0-9]+/HOST/g' -e 's/ +/ /g' -e 's/ $//' | sort
}
transcribe() { # NAME TEXT
    if [[ -n ${TRANSCRIPT:-} ]]; then
        { echo "== $1"; plain <<< "$2"; } >> "$TRANSCRIPT"
    fi
}
# check NAME PATTERN... -- COMMAND...: it ends with 0, and what it printed has a line like each PATTERN
check() {
    local name=$1 patterns=() pattern out
    shift
    while [[ $1 != -- ]]; do
        patterns+=("$1")
        shift
    done
    shift
    if ! out=$("$@"); then
        not_ok "$name" "status not 0: $out $(tail -n 3 "$work/err")"
        return
    fi
    transcribe "$name" "$out"
    for pattern in ${patterns[@]+"${patterns[@]}"}; do
        if ! grep -qE -- "$pattern" <<< "$out$(cat "$work/err")"; then
            not_ok "$name" "no line like '$pattern' in: $out $(tail -n 3 "$work/err")"
            return
        fi
    done
    ok "$name"
}
# wait_for NAME PATTERN COMMAND...: within half a minute its output has a line like PATTERN
wait_for() {
    local name=$1 pattern=$2 out
    shift 2
    for _ in $(seq 15); do
        out=$("$@")
        if grep -qE -- "$pattern" <<< "$out"; then
            ok "$name"
            return
        fi
        sleep 1
    done
    not_ok "$name" "no line like '$pattern' in: $out $(tail -n 3 "$work/err")"
}
# refused NAME PATTERN COMMAND...: it says PATTERN; its status does not count, since Kafka's tools are of two minds there
refused() {
    local name=$1 pattern=$2 out
    shift 2
    out=$("$@")
    transcribe "$name" "$out"
    if ! grep -qE -- "$pattern" <<< "$out$(cat "$work/err")"; then
        not_ok "$name" "no '$pattern' in: $out $(tail -n 5 "$work/err")"
    else
        ok "$name"
    fi
}

groups() { tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server "$address" "$@"; }
all_groups() { tool org.apache.kafka.tools.GroupsCommand --bootstrap-server "$address" "$@"; }
topics() { tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$address" "$@"; }
configs() { tool kafka.admin.ConfigCommand --bootstrap-server "$address" "$@"; }
produce() { tool org.apache.kafka.tools.ConsoleProducer --bootstrap-server "$address" "$@"; }
consume() { # GROUP ARGS...: in the background, until stop_consumers
    local group=$1
    shift
    (java_tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$address" --topic "$topic" --group "$group" \
        --from-beginning "$@" > "$work/out-$group-${#consumers[@]}" 2> "$work/err-consumer") &
    consumers+=($!)
}
consume_all() { # GROUP COUNT ARGS...
    local group=$1 count=$2
    shift 2
    tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$address" --topic "$topic" --group "$group" \
        --from-beginning --max-messages "$count" --timeout-ms 20000 "$@"
}

classic=classic-$mark
modern=modern-$mark
check 'topic of three partitions' 'Created topic' -- topics --create --topic "$topic" --partitions 3
# 300 records, of a key each: about 100 in each partition
seq 1 300 | sed 's/.*/&:&/' > "$work/lines"
if produce --topic "$topic" --reader-property parse.key=true --reader-property key.separator=: \
    < "$work/lines" > "$work/out"; then
    ok 'records'
else
    not_ok 'records' "$(tail -n 3 "$work/err")"
fi
after_all=$(date -u -d '+1 day' +%Y-%m-%dT%H:%M:%S.000)

consume "$classic"
consume "$classic" --command-property client.id=second
consume "$modern" --command-property group.protocol=consumer
wait_for 'two classic members share' '^'"$classic"'.* Stable +2 *$' groups --describe --group "$classic" --state
wait_for 'a member of the consumer protocol' '^'"$modern"'.* Stable +1 *$' groups --describe --group "$modern" --state
wait_for 'the lag goes to nothing, classic' "^$classic +$topic +[012] +([0-9]+) +\1 +0 " groups --describe --group "$classic"
wait_for 'the lag goes to nothing, consumer' "^$modern +$topic +[012] +([0-9]+) +\1 +0 " groups --describe --group "$modern"

check 'list' "^$classic\$" "^$modern\$" -- groups --list
check 'list --state' "^$classic +Stable *\$" "^$modern +Stable *\$" -- groups --list --state
check 'list --state stable' "^$classic +Stable *\$" -- groups --list --state Stable
check 'list --type' "^$classic +Classic *\$" "^$modern +Consumer *\$" -- groups --list --type
check 'list --type consumer' "^$modern +Consumer *\$" -- groups --list --type consumer
check 'kafka-groups' "^$classic +Classic +consumer *\$" "^$modern +Consumer +consumer *\$" -- all_groups --list
check 'describe' '^GROUP +TOPIC +PARTITION +CURRENT-OFFSET +LOG-END-OFFSET +LAG +CONSUMER-ID +HOST +CLIENT-ID' \
    "^$classic +$topic +0 +" "^$classic +$topic +2 +" -- groups --describe --group "$classic"
check 'describe --verbose' 'LEADER-EPOCH' -- groups --describe --group "$classic" --verbose
check 'describe --members' '^GROUP +CONSUMER-ID +HOST +CLIENT-ID +#PARTITIONS' "^$classic .* second +[12] *\$" \
    -- groups --describe --group "$classic" --members
check 'describe --members --verbose' "^$classic .*$topic:[012]" -- groups --describe --group "$classic" --members --verbose
check 'describe --state' '^GROUP +COORDINATOR \(ID\) +ASSIGNMENT-STRATEGY +STATE +#MEMBERS' "^$classic .* range +Stable +2" \
    -- groups --describe --group "$classic" --state
check 'describe --state --verbose' 'GROUP-EPOCH' -- groups --describe --group "$modern" --state --verbose
check 'consumer: describe --verbose' "^$modern +$topic +1 " -- groups --describe --group "$modern" --verbose
check 'consumer: describe --members --verbose' 'CURRENT-EPOCH +CURRENT-ASSIGNMENT +TARGET-EPOCH +TARGET-ASSIGNMENT' \
    "^$modern .*$topic:0,1,2" -- groups --describe --group "$modern" --members --verbose
check 'consumer: describe --state' "^$modern .* uniform +Stable +1" -- groups --describe --group "$modern" --state
check 'describe all' "^$classic " "^$modern " -- groups --describe --all-groups
refused 'describe an unknown group' 'GroupIdNotFound|does not exist' groups --describe --group "none-$mark"

refused 'reset of a group with members' "current state is Stable" \
    groups --reset-offsets --group "$classic" --topic "$topic" --to-earliest --execute
refused 'delete of a group with members' 'GroupNotEmptyException' groups --delete --group "$classic"
refused 'offsets of a subscribed topic' 'GroupSubscribedToTopic|subscribed to' \
    groups --delete-offsets --group "$classic" --topic "$topic"
refused 'consumer: delete of a group with members' 'GroupNotEmptyException' groups --delete --group "$modern"
stop_consumers
wait_for 'all have left, classic' "^$classic.* Empty +0 *\$" groups --describe --group "$classic" --state
wait_for 'all have left, consumer' "^$modern.* Empty +0 *\$" groups --describe --group "$modern" --state
check 'an empty group is described' "^$classic +$topic +[012] +([0-9]+) +\1 +0 +- +- +-" -- groups --describe --group "$classic"

reset() { # NAME PATTERN ARGS...
    local name=$1 pattern=$2
    shift 2
    check "reset, $name" "$pattern" -- groups --reset-offsets --group "$classic" "$@"
}
reset 'earliest, dry run' "^$classic +$topic +0 +0 *\$" --topic "$topic" --to-earliest --dry-run
check 'a dry run changes nothing' "^$classic +$topic +[012] +([0-9]+) +\1 +0 " -- groups --describe --group "$classic"
reset 'earliest' "^$classic +$topic +0 +0 *\$" --topic "$topic" --to-earliest --execute
reset 'latest' "^$classic +$topic +0 +[0-9]+ *\$" --topic "$topic" --to-latest --execute
reset 'to-offset of one partition' "^$classic +$topic +1 +7 *\$" --topic "$topic:1" --to-offset 7 --execute
reset 'shift-by' "^$classic +$topic +1 +12 *\$" --topic "$topic:1" --shift-by 5 --execute
reset 'shift-by, below the start' "^$classic +$topic +1 +0 *\$" --topic "$topic:1" --shift-by -500 --execute
reset 'to-current, all topics' "^$classic +$topic +1 +0 *\$" --all-topics --to-current --execute
reset 'to-datetime' "^$classic +$topic +0 +0 *\$" --topic "$topic" --to-datetime 2020-01-01T00:00:00.000 --execute
reset 'to-datetime, behind all' "^$classic +$topic +0 +[0-9]+ *\$" --topic "$topic" --to-datetime "$after_all" --execute
reset 'by-duration' "^$classic +$topic +0 +0 *\$" --topic "$topic" --by-duration P1D --execute
check 'export' "^\"?$topic\"?,0,0" -- \
    groups --reset-offsets --group "$classic" --topic "$topic" --to-earliest --dry-run --export
printf '%s,0,11\n%s,2,13\n' "$topic" "$topic" > "$work/offsets.csv"
reset 'from-file' "^$classic +$topic +0 +11 *\$" --from-file "$work/offsets.csv" --execute
check 'what the file said' "^$classic +$topic +0 +11 " "^$classic +$topic +2 +13 " -- groups --describe --group "$classic"
check 'consumer: reset to earliest' "^$modern +$topic +0 +0 *\$" -- \
    groups --reset-offsets --group "$modern" --topic "$topic" --to-earliest --execute
check 'a new group by a reset' "^made-$mark +$topic +2 +5 *\$" -- \
    groups --reset-offsets --group "made-$mark" --topic "$topic" --to-offset 5 --execute

count=$(consume_all "$classic" 1000 2> /dev/null | wc -l)
ends=$(groups --describe --group "$classic" | awk -v t="$topic" '$2 == t { sum += $5 } END { print sum }')
wanted=$((ends - 11 - 13)) # the third partition was reset to its start
if [[ $count -eq $wanted ]]; then
    ok 'a consumer goes on at the offsets'
else
    not_ok 'a consumer goes on at the offsets' "$count records, $wanted were left: $(tail -n 3 "$work/err")"
fi
check 'delete-offsets' "^$topic +1 +Successful" -- groups --delete-offsets --group "$classic" --topic "$topic:1"
refused 'delete-offsets of an unknown topic' 'UnknownTopicOrPartition|does not host|Unknown|Not Successful|Error' \
    groups --delete-offsets --group "$classic" --topic "nothing-$mark"
check 'what is left' "^$classic +$topic +0 " -- groups --describe --group "$classic"
check 'group configs' 'Completed updating config' -- \
    configs --alter --entity-type groups --entity-name "$modern" --add-config consumer.session.timeout.ms=50000
check 'group configs, described' 'consumer.session.timeout.ms=50000' -- \
    configs --describe --entity-type groups --entity-name "$modern"
check 'delete' "Deletion of requested consumer groups .*$classic.*was successful" -- groups --delete --group "$classic"
check 'consumer: delete' "was successful" -- groups --delete --group "$modern"
refused 'delete a second time' 'GroupIdNotFound|does not exist|could not be deleted|not found' \
    groups --delete --group "$classic"
check 'validate-regex' '' -- groups --validate-regex '^a.*(b|c)$'
refused 'validate-regex, a bad one' 'missing|error|invalid|not' groups --validate-regex '(a'
exit "$failed"
