"""Requests of groups for the scripts of script.py: classic groups of one member, members of the newer protocol, offsets."""
VERSIONS = {'OffsetCommit': (2, 10), 'OffsetFetch': (1, 10), 'OffsetDelete': (0, 0), 'JoinGroup': (0, 9),
            'SyncGroup': (0, 5), 'Heartbeat': (0, 4), 'LeaveGroup': (0, 5), 'DescribeGroups': (0, 6),
            'DeleteGroups': (0, 3), 'ConsumerGroupHeartbeat': (0, 1), 'ConsumerGroupDescribe': (0, 1)}
PREFIX = '@@'
ODD_OFFSETS = [-1, -2, 0, 9223372036854775807, -9223372036854775808, 5]
METADATA = {'name': 'range', 'metadata': 'AAEAAAABAAF4/////w=='}  # subscription of a topic x


class Groups:
    def __init__(self, script):
        self.s = script
        self.names = [f'{PREFIX}g{i}' for i in range(3)]
        self.members = {}  # group -> [member's id, generation or epoch, is it of the newer protocol]

    def group(self):
        s = self.s
        return s.pick(self.names) if s.chance(88) else s.pick(['', f'{PREFIX}gx', f'{PREFIX}g' + 'x' * 300])

    def member_of(self, name):
        """(id, generation) that may be right."""
        s = self.s
        known = self.members.get(name)
        if known is None or s.chance(15):
            return s.pick(['', 'nobody', 'x']), s.pick([-1, 0, 1, 5, -2])
        return known[0], known[1] if s.chance(80) else s.pick([-1, 0, 5, f'{known[1][:-1]}+1}}', f'{known[1][:-1]}-1}}'])

    def join(self):
        s = self.s
        name = s.pick(self.names)
        if self.members.get(name, (0, 0, False))[2]:
            return
        version = s.rng.randint(*VERSIONS['JoinGroup'])
        body = {'groupId': name, 'sessionTimeoutMs': 60000, 'rebalanceTimeoutMs': 2000, 'memberId': '',
                'protocolType': 'consumer', 'protocols': [METADATA]}
        known = self.members.get(name)
        if known is not None:
            body['memberId'] = known[0] if s.chance(85) else 'nobody'
        elif version >= 4:
            body['memberId'] = s.pick(['', 'nobody'])
        fresh = known is None and version < 4
        if s.chance(20):
            fresh = False
            body.update(s.pick([{'sessionTimeoutMs': 5}, {'sessionTimeoutMs': 2147483647}, {'protocolType': ''},
                                {'protocols': []}, {'groupId': ''}, {'protocolType': 'connect'}, {'protocols': [
                                    {'name': 'odd', 'metadata': 'AA=='}]}]))
            if known is not None and body['memberId'] == known[0]:
                return
            if body['memberId'] == '' and ('protocols' not in body or body['sessionTimeoutMs'] == 60000):
                body['protocols'] = []  # nobody is to wait for the one that is in
        more = {}
        if fresh:
            member, save = s.save('/memberId')
            generation, other = s.save('/generationId')
            more['save'] = {**save, **other}
            self.members[name] = ['${%s}' % member, '${%s}' % generation, False]
        elif known is not None and body['memberId'] == known[0]:
            generation, other = s.save('/generationId')
            more['save'] = other
            known[1] = '${%s}' % generation
        s.ask('JoinGroup', body, version, **more)
        if fresh and s.chance(85):
            self.sync(name, True)

    def sync(self, name=None, good=False):
        s = self.s
        name = name or self.group()
        member, generation = self.members[name][:2] if good else self.member_of(name)
        s.ask('SyncGroup', {'groupId': name, 'generationId': generation, 'memberId': member,
                            'protocolType': 'consumer' if s.chance(90) else s.pick([None, 'x']),
                            'protocolName': 'range' if s.chance(90) else s.pick([None, 'x']),
                            'assignments': [{'memberId': member, 'assignment': 'text:a'}] if s.chance(80) else []})

    def heartbeat(self):
        s = self.s
        name = self.group()
        member, generation = self.member_of(name)
        s.ask('Heartbeat', {'groupId': name, 'generationId': generation, 'memberId': member,
                            'groupInstanceId': None if s.chance(85) else 'i'})

    def leave(self):
        s = self.s
        name = self.group()
        version = s.rng.randint(*VERSIONS['LeaveGroup'])
        member = self.member_of(name)[0]
        s.ask('LeaveGroup', {'groupId': name, 'memberId': member, 'members': s.some(
            lambda: {'memberId': s.pick([member, member, 'nobody', '']), 'groupInstanceId': s.pick([None, None, None, 'i']),
                     'reason': s.pick([None, 'r'])}, 0, 2)}, version)
        if self.members.get(name) and not self.members[name][2]:
            self.members.pop(name)
            self.names.append(f'{name}a')  # whether it has left is not followed: go on with another
            self.names.remove(name)

    def commit(self):
        s = self.s
        name = self.group()
        member, generation = self.member_of(name) if s.chance(70) else ('', -1)
        topics = s.by_topic(1, 4, lambda index, known: {
            'partitionIndex': index, 'committedOffset': s.near_offset(known) if s.chance(80) else s.pick(ODD_OFFSETS),
            'committedLeaderEpoch': s.pick([-1, -1, 0, 5]), 'committedMetadata': s.pick(
                ['', 'm', None, 'x' * 4096, 'x' * 4097]) if s.chance(40) else 'm'}, ['name', 'topicId'])
        s.ask('OffsetCommit', {'groupId': name, 'generationIdOrMemberEpoch': generation, 'memberId': member,
                               'groupInstanceId': None if s.chance(92) else 'i',
                               'retentionTimeMs': s.pick([-1, -1, 1000000]), 'topics': topics})

    def fetch(self):
        s = self.s
        version = s.rng.randint(*VERSIONS['OffsetFetch'])

        def topics(all_from):
            if s.chance(25) and version >= all_from:
                return None
            return s.by_topic(0, 4, lambda index, known: index, ['name', 'topicId'] if version >= 8 else ['name'],
                              items='partitionIndexes')

        def one():
            name = self.group()
            member, generation = self.member_of(name) if s.chance(30) else (None, -1)
            return {'groupId': name, 'memberId': member, 'memberEpoch': generation, 'topics': topics(8)}
        if version >= 8:
            s.ask('OffsetFetch', {'groups': s.some(one, 0, 3), 'requireStable': s.chance(30)}, version)
        else:
            s.ask('OffsetFetch', {'groupId': self.group(), 'topics': topics(2), 'requireStable': s.chance(30)}, version)

    def delete_offsets(self):
        s = self.s
        s.ask('OffsetDelete', {'groupId': self.group(), 'topics': s.by_topic(
            0, 3, lambda index, known: {'partitionIndex': index}, ['name'])})

    def describe(self):
        s = self.s
        s.ask('DescribeGroups', {'groups': s.some(self.group, 0, 3), 'includeAuthorizedOperations': s.chance(40)},
              mask=['clientHost'])

    def describe_consumers(self):
        s = self.s
        s.ask('ConsumerGroupDescribe', {'groupIds': s.some(self.group, 0, 3),
                                        'includeAuthorizedOperations': s.chance(40)}, mask=['clientHost'])

    def delete(self):
        s = self.s
        s.ask('DeleteGroups', {'groupsNames': s.some(self.group, 0, 3)})

    def consumer(self):
        s = self.s
        name = s.pick(self.names)
        known = self.members.get(name)
        if known is not None and not known[2]:
            return
        body = {'groupId': name, 'memberId': f'm-{name}', 'memberEpoch': 0, 'rebalanceTimeoutMs': 60000,
                'subscribedTopicNames': [s.topic().name], 'topicPartitions': []}
        if known is None:
            if s.chance(25):
                body.update(s.pick([{'memberEpoch': 5}, {'memberEpoch': -1}, {'memberEpoch': -3}, {'groupId': ''},
                                    {'rebalanceTimeoutMs': -1}, {'subscribedTopicNames': None}, {'topicPartitions': None},
                                    {'serverAssignor': 'x'}, {'rackId': ''}, {'memberId': ''}, {'instanceId': ''}]))
                s.ask('ConsumerGroupHeartbeat', body)
                return
            epoch, save = s.save('/memberEpoch')
            self.members[name] = [f'm-{name}', '${%s}' % epoch, True]
            s.ask('ConsumerGroupHeartbeat', body, 1, save=save)
            return
        body.update(memberEpoch=self.member_of(name)[1], subscribedTopicNames=None, topicPartitions=None,
                    rebalanceTimeoutMs=s.pick([-1, 60000]))
        if s.chance(15):
            body['memberEpoch'] = s.pick([-1, -2])
            self.members.pop(name)
            self.names.remove(name)
            self.names.append(f'{name}b')
        s.ask('ConsumerGroupHeartbeat', body)

    STEPS = [('join', 12), ('sync', 4), ('heartbeat', 6), ('leave', 3), ('commit', 14), ('fetch', 14), ('delete_offsets', 4),
             ('describe', 4), ('describe_consumers', 3), ('delete', 3), ('consumer', 9)]


def run(script):
    groups = Groups(script)
    for _ in range(script.rng.randint(15, 50)):
        getattr(groups, script.rng.choices([n for n, _ in Groups.STEPS], [w for _, w in Groups.STEPS])[0])()
        if script.chance(5):
            script.delete_topics()
            if not script.topics:
                script.first_topics()
