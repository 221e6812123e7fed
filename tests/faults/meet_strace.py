"""Whether the shim sees what the kernel sees: one run of a command under both, call by call."""
import collections
import os
import re
import subprocess

CALLS = {
    'write': 'write', 'pwrite64': 'write', 'writev': 'write', 'pwritev': 'write', 'pwritev2': 'write', 'copy_file_range': 'write',
    'sendfile': 'write', 'truncate': 'write', 'ftruncate': 'write', 'fallocate': 'write',
    'fsync': 'fsync', 'fdatasync': 'fsync', 'syncfs': 'fsync', 'sync_file_range': 'fsync',
    'rename': 'rename', 'renameat': 'rename', 'renameat2': 'rename', 'link': 'rename', 'linkat': 'rename',
    'unlink': 'unlink', 'unlinkat': 'unlink', 'rmdir': 'unlink',
    'mkdir': 'create', 'mkdirat': 'create', 'mknod': 'create', 'mknodat': 'create', 'symlink': 'create', 'symlinkat': 'create',
    'creat': 'create', 'open': 'create', 'openat': 'create', 'openat2': 'create',
    'chmod': 'mode', 'fchmod': 'mode', 'fchmodat': 'mode', 'chown': 'mode', 'lchown': 'mode', 'fchown': 'mode', 'fchownat': 'mode',
    'utimensat': 'times', 'setxattr': 'times', 'fsetxattr': 'times', 'io_uring_enter': 'io_uring',
}
CALL = re.compile(r'^(?:\d+\s+)?(\w+)\((.*)$')
PATH = re.compile(r'<(/[^>]*)>|"((?:[^"\\]|\\.)*)"')


def compare(world, arguments, input=None):
    """What strace saw of the workspace and the shim did not, or the other way; the shim's log; what the command answered."""
    trace, log = world.root + '.trace', world.root + '.ops'
    said = subprocess.run(
        ['strace', '-f', '-y', '-s', '300', '-qq', '-o', trace, '-e', 'trace=' + ','.join(CALLS), '-e', 'signal=none',
         '-E', f'LD_PRELOAD={world.shim}', '-E', 'FAULT=any:0:count', '-E', 'FAULT_PATH=/.milestones/', '-E', f'FAULT_LOG={log}',
         world.binary, *arguments],
        cwd=world.root, env=world.environment, input=input or '', capture_output=True, text=True, errors='replace')
    seen, unfinished = collections.Counter(), {}
    with open(trace, encoding='utf-8', errors='replace') as file:
        for line in file:
            found = CALL.match(line)
            if not found or found.group(1) not in CALLS or '/.milestones' not in line + world.root:
                continue
            call, rest = found.groups()
            if call in ('open', 'openat', 'openat2') and not re.search(r'O_CREAT|O_TRUNC', rest):
                continue
            names = [fd or text for fd, text in PATH.findall(rest)]
            if CALLS[call] in ('write', 'fsync') and call != 'truncate' or call.startswith('f') and call not in ('fchmodat', 'fchownat'):
                names = names[:1]
            elif call in ('renameat', 'renameat2', 'linkat', 'link', 'rename'):
                names = names[-2:] if call.endswith(('at', 'at2')) else names[-1:]
            path = os.path.join(*names) if names else ''
            if '/.milestones/' in path:
                seen[CALLS[call]] += 1
    counted = collections.Counter()
    with open(log, encoding='utf-8', errors='replace') as file:
        lines = file.read().splitlines()
    for line in lines:
        counted[line.split(' ', 2)[1]] += 1
    kinds = set(seen) | set(counted)
    return {kind: (seen[kind], counted[kind]) for kind in sorted(kinds) if seen[kind] != counted[kind]}, lines, said
