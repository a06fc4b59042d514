"""Record batches of magic 2 as bytes, right or wrong in any place. Only what Python's library compresses (none, gzip)."""
import gzip
import struct

TIME = 1700000000000
CRC_AT = 17
HEADER = struct.Struct('>qiibIhiqqqhii')
POLYNOMIAL = 0x82F63B78


def crc_table():
    table = []
    for i in range(256):
        for _ in range(8):
            i = (i >> 1) ^ (POLYNOMIAL if i & 1 else 0)
        table.append(i)
    return table


TABLE = crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def varint(value):
    value = (value << 1) ^ (value >> 63)
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(data, length=None):
    if data is None:
        return varint(-1 if length is None else length)
    return varint(len(data) if length is None else length) + data


def record(delta, key=None, value=b'v', time_delta=0, headers=(), attributes=0, wrong=None):
    """wrong: what is not as it should be, a name of WRONG_RECORDS."""
    body = bytes([attributes]) + varint(time_delta) + varint(delta + (1 if wrong == 'delta' else 0))
    body += field(key, -2 if wrong == 'key length -2' else 1 << 20 if wrong == 'key too long' else None)
    body += field(value, {'value length -2': -2, 'value too long': 1 << 20, 'value too short': 0}.get(wrong))
    count = {'headers -1': -1, 'headers too many': len(headers) + 1, 'headers too few': max(0, len(headers) - 1),
             'headers huge': 1 << 28}.get(wrong, len(headers))
    body += varint(count)
    for name, content in headers:
        body += field(None if wrong == 'header name null' else name) + field(content)
    if wrong == 'bytes behind':
        body += b'\0\0'
    length = len(body) + {'length -1': -1, 'length +1': 1}.get(wrong, 0)
    return varint({'length negative': -5, 'length huge': 1 << 30, 'length 0': 0}.get(wrong, length)) + body


WRONG_RECORDS = ['delta', 'key length -2', 'key too long', 'value length -2', 'value too long', 'value too short',
                 'headers -1', 'headers too many', 'headers too few', 'headers huge', 'header name null', 'bytes behind',
                 'length -1', 'length +1', 'length negative', 'length huge', 'length 0']


def batch(records, codec=0, time=TIME, max_time=None, producer=(-1, -1, -1), attributes=0, count=None, last_delta=None,
          base=0, leader_epoch=-1, magic=2, length=None, crc=None, tail=b'', spoil=None):
    """records: bytes of each. None stands for what is right."""
    body = b''.join(records)
    if codec == 1:
        body = gzip.compress(body, 6, mtime=0)
    if spoil is not None and body:
        body = bytearray(body)
        body[min(spoil, len(body) - 1)] ^= 0x40
        body = bytes(body)
    body += tail
    count = len(records) if count is None else count
    last_delta = max(0, len(records) - 1) if last_delta is None else last_delta
    head = HEADER.pack(base, 49 + len(body) if length is None else length, leader_epoch, magic, 0, wrap16(attributes | codec),
                       last_delta, time, time if max_time is None else max_time, *producer, count)
    right = crc32c(head[CRC_AT + 4:] + body)
    return head[:CRC_AT] + struct.pack('>I', right if crc is None else crc) + head[CRC_AT + 4:] + body


def wrap16(value):
    return value - 65536 if value > 32767 else value


NAMES = ('base', 'length', 'leaderEpoch', 'magic', 'crc', 'attributes', 'lastDelta', 'time', 'maxTime', 'producerId',
         'epoch', 'sequence', 'count')
CRC_BYTES_MAX = 20000  # longer ones take too long here


def read(file):
    """[(field -> value, records' bytes)] of a file of batches, as far as there are any: zeros may follow."""
    out = []
    while True:
        start = file.read(HEADER.size)
        if not start.strip(b'\0'):
            return out
        head = dict(zip(NAMES, HEADER.unpack(start))) if len(start) == HEADER.size else {}
        if head.get('length', 0) < 49:
            out.append(({'bytesLeftOver': len(start)}, b''))
            return out
        body = file.read(head['length'] - 49)
        if len(body) < CRC_BYTES_MAX:
            head['crcIsRight'] = head['crc'] == crc32c(start[CRC_AT + 4:] + body)
        out.append((head, body))
