"""Disks that are small."""
import os
import shutil
import subprocess
import tempfile

from lib.checks import Skip

PAGE_BYTES = 4096


class Tmpfs:
    """A small disk."""

    def __init__(self, megabytes):
        self.path = tempfile.mkdtemp(prefix='jackdaw-disk-')
        mount = ['mount', '-t', 'tmpfs', '-o', f'size={megabytes}m', 'tmpfs', self.path]
        if os.geteuid() != 0 or not shutil.which('mount') or subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
            os.rmdir(self.path)
            raise Skip('cannot mount a small disk here')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(['umount', '-l', self.path], check=False)
        os.rmdir(self.path)

    def fill(self, pages_left):
        """A file of all but so many pages; its path."""
        path = os.path.join(self.path, 'ballast')
        with open(path, 'wb', buffering=0) as file:
            try:
                while True:
                    file.write(b'x' * PAGE_BYTES)
            except OSError:
                file.truncate((file.tell() // PAGE_BYTES - pages_left) * PAGE_BYTES)
        return path
