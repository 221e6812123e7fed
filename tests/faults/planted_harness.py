"""The harnesses that look for planted faults, each ended at its first finding, within bounds of time, memory and disk."""
import collections
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
AS_IT_IS = 0        # in place of a mutant's number
# All tests but those of cases, those that run the harnesses above, and those that nothing of stores and moves is in.
SUITE = ('(package(milescale-document) + package(milescale-core) + package(milescale-workspace) + package(milescale-storage) + package(milescale-migration) + test(/^(migrations|faults|backends|milestones|unseen|'
         'taking_over|daemon)::/)) - test(/^cases::|^migrations::(storm|meet|walk)|with_20_000|million|yaml::|gigabyte/)')
PATIENCE = 240      # seconds beyond its own that a harness may take
SUITE_TAKES = 1200


def limit():
    """A mutant may want all memory, or all of the disk."""
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))


class Harnesses:
    def __init__(self, options, builder):
        self.options, self.builder = options, builder
        # The quick ones first.
        self.names = ['storm'] + (['power'] if os.geteuid() == 0 else []) + ['walk', 'meet'] + (['suite'] if options.suite else [])
        # Other accounts write in the storm: they may pass.
        self.folder = tempfile.mkdtemp(prefix='milescale-planted-', dir='/dev/shm' if os.access('/dev/shm', os.W_OK) else None)
        os.chmod(self.folder, 0o711)
        self.record = os.path.join(self.folder, 'record')

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, name, binary):
        options = self.options
        jobs, seed = ['--jobs', str(options.jobs)], ['--seed', str(options.seed)]
        psql = ['--psql', options.psql] if options.psql else []
        return {'suite': ['cargo', 'nextest', 'run', '--locked', '--color', 'never', '-E', SUITE, '--test-threads', str(options.jobs)],
                'meet': [f'{HERE}/meet', binary, *seed, *jobs, *psql],
                'walk': [f'{HERE}/walk', binary, '--first', '--seconds', str(options.walks), *seed, *jobs, *psql],
                'storm': [f'{os.path.dirname(HERE)}/storm/run', binary, f'1-{options.storm}', *jobs, *psql],
                'power': [f'{HERE}/power', binary, '--cuts', str(options.cuts), '--controls', '0', *seed, *jobs]}[name]

    def find(self, name, binary, mutant=AS_IT_IS, points=(), skip=(), alone_at=None):
        """What a harness finds, each with the point of `meet` where it is: `meet` at these points first and at some not at all, or (with
        the number of the mutant that they are about) at these alone."""
        command = self.command(name, binary)
        if name == 'meet':
            command += ['--first', '--seconds', str(self.options.seconds), '--surveys', self.surveys(binary, mutant or alone_at or 0)]
        if name == 'meet' and points:
            commands = len({point.split(' | ')[0] for point in points})
            each = len(points) if alone_at else max(16, self.options.seconds * 10 // commands)
            command += ['--points', os.path.join(self.folder, 'points'), '--each', str(each)]
            command += ['--skip', os.path.join(self.folder, 'skip')]
            for some, lines in (('points', points), ('skip', skip)):
                with open(os.path.join(self.folder, some), 'w', encoding='utf-8') as file:
                    file.writelines(line + '\n' for line in lines)
        if name == 'suite':
            command += ['--fail-fast']
        code, out = self.run(command, mutant, SUITE_TAKES if name == 'suite' else self.options.seconds + PATIENCE, alone_at or mutant)
        if code is None:
            return [('it does not end', '')]
        return findings(name, out) if code else []

    def surveys(self, binary, mutant):
        """What `meet` keeps of the calls of a binary, with those that show where a mutant's function runs."""
        return os.path.join(self.options.cache or self.folder, f'surveys-{os.path.basename(binary)}-{mutant}')

    def calibrate(self, name, binary):
        """What a harness finds in the source as it is, and the mutants whose functions it enters: at each point of `meet`, or in all."""
        command = self.command(name, binary)
        if name == 'meet':
            command += ['--each', '3', '--seconds', str(self.options.calibrate), '--surveys', self.surveys(binary, AS_IT_IS)]
        code, out = self.run(command, AS_IT_IS, SUITE_TAKES if name == 'suite' else self.options.calibrate + PATIENCE)
        entered = collections.defaultdict(set)
        with open(self.record, encoding='utf-8') as file:
            for line in set(file):
                point, _, numbers = line.rstrip('\n').rpartition('\t')
                entered[point].update(json.loads(numbers))
        return findings(name, out) if code != 0 else [], {point: sorted(numbers) for point, numbers in entered.items()}

    def run(self, command, mutant, patience, at=AS_IT_IS):
        """Exit status and output of a harness, or `None`; what it leaves in processes and folders is removed."""
        work = os.path.join(self.folder, 'work')
        os.mkdir(work)
        os.chmod(work, 0o711)
        with open(self.record, 'w', encoding='utf-8'):
            os.chmod(self.record, 0o666)
        environment = dict(os.environ, MILESCALE_MUTANT=str(mutant), MILESCALE_MUTANT_AT=str(at), MILESCALE_MUTANT_RECORD=self.record, TMPDIR=work, MALLOC_ARENA_MAX='2')
        if command[0] == 'cargo':
            environment.update(self.builder.environment)
            environment.update(MILESCALE_MUTANT=str(mutant), MILESCALE_MUTANT_AT='0', MILESCALE_MUTANT_RECORD=self.record, TMPDIR=work)
        child = subprocess.Popen(command, cwd=self.builder.tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace',
                                 start_new_session=True, preexec_fn=limit)
        try:
            out, _ = child.communicate(timeout=patience)
            return child.returncode, out
        except subprocess.TimeoutExpired:
            return None, ''
        finally:
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.communicate()
            shutil.rmtree(work, ignore_errors=True)


def findings(name, out):
    """What a harness says that it has found, each with the point of `meet` where it is: its last line where it says nothing."""
    lines, found = out.splitlines(), []
    for number, line in enumerate(lines):
        if name == 'meet' and ' --only ' in line:
            found.append((' '.join(lines[number + 2:number + 3]).strip(), line.split(" --only '")[1][:-1]))
        elif name == 'storm' and line.startswith('{'):
            result = json.loads(line)
            wrong = {key: result[key] for key in ('lost', 'own_lost', 'altered', 'doubled', 'trouble') if result.get(key)}
            found += [(f'seed {result["seed"]}: {wrong}', '')] if wrong else []
        elif name == 'walk' and re.match('    [A-Z ]+: ', line):
            found.append((line.strip(), ''))
        elif name == 'suite' and re.match(r'\s+(FAIL|TIMEOUT|SIG\w+|ABORT) ', line):
            found.append((line.split(')')[-1].strip(), ''))
        elif line.startswith(('trouble: ', 'LOST OR WRONG: ')):
            found.append((line, ''))
    errors = re.findall(r'^(?:\w+\.)*\w+Error\b.*', out, re.M)
    if found and found[0][0].startswith('trouble: '):
        found[0] = (' '.join([found[0][0], *errors[:1]]), '')
    return found or [((errors or lines or [''])[-1], '')]


def alike(what):
    """A finding without what is counted, dated or drawn in it."""
    return re.sub(r'\w*\d\w*', 'N', what)
