"""One workspace of the storm: how it is made, how milescale is called in it, and who writes to it."""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

from hand import HABITS, ROWS, SIDE, Draft, where_in
from troubles import Troubles

HERE = os.path.dirname(os.path.abspath(__file__))

# Two people of one group, by number: no account is needed for that.
OWNER, SECOND, GROUP = 4001, 4002, 4000
AS = ['setpriv', '--regid', str(GROUP), '--clear-groups', '--reuid']

# In a namespace where its numbers of processes mean nothing to others, and under another path.
CONTAINER = ['unshare', '--mount', '--pid', '--fork', '--mount-proc', '--propagation', 'private', 'sh', '-c',
             'mount --bind "$0" "$1" && shift && exec "$@"']

# What a seed switches on, and how often.
SWITCHES = {'completed': 0.6, 'retiring': 0.5, 'second owner': 0.3, 'container': 0.3, 'proxy': 0.5}


def may_be_root():
    """Whether accounts and namespaces can be changed here, and another account can write."""
    if os.geteuid() != 0 or not all(map(shutil.which, ('setpriv', 'unshare'))):
        return False
    tries = [[*AS, str(SECOND), sys.executable, '-c', 'import yaml'], ['unshare', '--mount', '--pid', '--fork', 'true']]
    return all(subprocess.run(it, capture_output=True, cwd='/').returncode == 0 for it in tries)


class World:
    def __init__(self, binary, seed, url, control, seconds, lent, is_root):
        self.binary, self.seed, self.url, self.control, self.seconds, self.lent = binary, seed, url, control, seconds, lent
        self.dice = random.Random(seed)
        in_memory = 'TMPDIR' not in os.environ and os.access('/dev/shm', os.W_OK)
        self.base = tempfile.mkdtemp(prefix=f'milescale-storm-{seed}-', dir='/dev/shm' if in_memory else None)
        self.root = os.path.join(self.base, 'plans')
        self.schema = f'storm_{seed}_{os.getpid()}'
        self.began = time.monotonic()
        self.end = None
        self.trouble = []       # what should not be
        self.said = []          # [begin, end, what, exit status, last lines] of milescale's commands that are no verbs
        self.choose(is_root)
        self.proxy = Troubles(url, random.Random(f'{seed} troubles')) if 'proxy' in self.on else None
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(('DATABASE_', 'PG'))}
        self.environment.update(GIT_CONFIG_GLOBAL='/dev/null', HOME=self.base, MILESCALE_USER='storm', PYTHONDONTWRITEBYTECODE='1')

    def choose(self, is_root):
        wanted = {name for name, share in SWITCHES.items() if self.dice.random() < share}
        if not self.url or self.control:
            wanted.discard('proxy')
        self.skipped = sorted(wanted & {'second owner', 'container'}) if not is_root else []
        self.on = wanted - set(self.skipped)
        # A third of the seeds has cron in place of the daemon.
        self.attendant = 'check' if self.seed % 3 == 0 else self.dice.choice(['daemon', 'daemon', 'daemon', 'none'])
        self.pace = self.dice.choice([1, 2, 4, 8])
        self.lulls = self.dice.random() < 0.6
        self.files_after = self.dice.choice(['keep', 'retire']) if 'retiring' in self.on else 'keep'
        self.stores = ['file', 'hybrid', 'sqlite'] + (['postgresql'] if self.url else [])
        self.start = self.dice.choice(self.stores)

    def path(self, *parts):
        return os.path.join(self.root, '.milestones', *parts)

    def prefix(self):
        return [*AS, str(OWNER)] if 'second owner' in self.on else []

    def run(self, arguments, **more):
        return subprocess.run([*self.prefix(), *arguments], capture_output=True, text=True, cwd=self.root, env=self.environment,
                              umask=0o002 if 'second owner' in self.on else -1, **more)

    def start_of(self, arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE):
        return subprocess.Popen([*self.prefix(), self.binary, *arguments], cwd=self.root, env=self.environment,
                                umask=0o002 if 'second owner' in self.on else -1,
                                stdout=stdout, stderr=stderr, text=True)

    def milescale(self, *arguments, kill_after=None):
        """A command that is no verb: its end, noted."""
        begin = time.monotonic()
        child = self.start_of(arguments)
        if kill_after is not None:
            time.sleep(kill_after)
            # setpriv has become milescale.
            child.kill()
        out, err = child.communicate()
        child.out, child.err = out, err
        lines = err.strip().splitlines()[-2:] if child.returncode > 0 else []
        self.said.append([begin, time.monotonic(), ' '.join(arguments), child.returncode, lines])
        return child

    def where(self):
        return where_in(self.root)

    # --- the workspace

    def build(self):
        for folder in ('active', 'config', 'completed', 'logs', 'locks'):
            os.makedirs(self.path(folder))
        with open(self.path('config', 'storage-backend.txt'), 'w') as file:
            file.write('file\n')
        with open(self.path('config', 'storage-config.yaml'), 'w') as file:
            file.write(f'storage:\n  database:\n    type: sqlite\n    url: "{self.proxy.url if self.proxy else self.url}"\n'
                       f'    schema: "{self.schema}"\n  migration:\n    files_after: {self.files_after}\n'
                       f'  performance:\n    query_timeout: {2 if self.proxy else 30}\n')
        self.people()
        for id in self.ids:
            with open(self.path('active', id + '.yaml'), 'w') as file:
                file.write(Draft().document(id))
        if 'second owner' in self.on:
            self.share()
        if shutil.which('git'):
            for command in (['init', '-q'], ['add', '-f', '.milestones/active'],
                            ['-c', 'user.name=t', '-c', 'user.email=t@t', 'commit', '-q', '-m', 'first']):
                done = self.run(['git', *command])
                assert done.returncode == 0, done
        if self.start != 'file':
            said = self.milescale(*move(self.start))
            assert said.returncode == 0, (said.out, said.err)
        if self.proxy:
            self.proxy.begin()

    def people(self):
        """Who writes what: each milestone has a habit, and each habit a hand."""
        dice = self.dice
        habits = ['person'] * 2 + list(HABITS) + (['completed', 'completed'] if 'completed' in self.on else [])
        self.ids = {}
        for number in range(dice.randrange(9, 24)):
            habit = habits[number % len(habits)]
            self.ids[f'{habit.replace(" ", "-")}-{number}'] = habit
        self.ids.update({f'verb-{number}': 'verb' for number in range(3)})
        self.ids.update({f'twin-{number}': 'twin' for number in range(3)})
        self.strict = [id for id, habit in self.ids.items() if habit == 'verb']
        self.hands = {'home': []}
        self.hands.update({name: [] for name in ('second owner', 'container') if name in self.on})
        for id, habit in self.ids.items():
            if habit == 'verb':
                continue
            for task in (['twin', 'stale twin'] if habit == 'twin' else [habit]):
                # A stash is of one folder and one person.
                hand = 'home' if task == 'stash' else dice.choice(list(self.hands))
                self.hands[hand].append((id, task))
        if not self.control:
            for number in range(2):
                self.hands[dice.choice(list(self.hands)) if number else list(self.hands)[-1]].append(('', 'verbs'))

    def share(self):
        """Makes it a folder of a group; some files are the second one's already."""
        for folder, folders, names in os.walk(self.base):
            os.chown(folder, OWNER, GROUP)
            os.chmod(folder, 0o2775)
            for name in names:
                path = os.path.join(folder, name)
                second = folder.endswith('active') and self.dice.random() < 0.3
                os.chown(path, SECOND if second else OWNER, GROUP)
                os.chmod(path, 0o664)

    # --- the hands

    def hand(self, number, name, tasks):
        """Starts a process that writes."""
        root, prefix = self.root, self.prefix()
        if name == 'second owner':
            prefix = [*AS, str(SECOND)]
        if name == 'container':
            root = os.path.join(self.base, 'elsewhere')
            os.makedirs(root, exist_ok=True)
            prefix = [*CONTAINER, self.root, root, *prefix]
        spec = {'root': root, 'url': self.url, 'schema': self.schema, 'binary': self.binary, 'tasks': tasks, 'strict': self.strict,
                'first': number * 1_000_000 + 1, 'end': self.end, 'pace': self.pace, 'lulls': self.lulls, 'seed': f'{self.seed} {name}',
                'retiring': 'retiring' in self.on, 'archiving': 'completed' in self.on,
                'swept': not self.control}
        return subprocess.Popen([*prefix, sys.executable, os.path.join(self.lent, 'storm', 'hand.py'), json.dumps(spec)],
                                stdout=open(os.path.join(self.base, f'hand-{number}.jsonl'), 'w'), stderr=subprocess.PIPE, text=True,
                                cwd='/', env=self.environment, umask=0o002 if 'second owner' in self.on else -1)

    def ledger(self):
        """What the hands noted: [begin, end, id, token, whether it counts, what, comment, taken out]."""
        found = []
        for name in sorted(os.listdir(self.base)):
            if name.startswith('hand-'):
                with open(os.path.join(self.base, name)) as file:
                    found += map(json.loads, file)
        return sorted(found)

    def remove(self):
        shutil.rmtree(self.base, ignore_errors=True)
        if self.url:
            drop = f'DROP SCHEMA IF EXISTS "{self.schema}" CASCADE'
            subprocess.run(['psql', '-X', '-q', '-d', self.url, '-c', drop], capture_output=True)


def move(to):
    engine = ['--engine', to] if to in ROWS else []
    return ['migrate', 'database' if engine else to, *engine, '--yes']


def side(store):
    return SIDE[store]


def lend(binary):
    """A folder that any account may read, with the binary and the writers in it."""
    folder = tempfile.mkdtemp(prefix='milescale-storm-lent-')
    os.chmod(folder, 0o755)
    os.makedirs(os.path.join(folder, 'storm'))
    for path in (os.path.join(HERE, 'hand.py'), os.path.join(os.path.dirname(HERE), 'verify.py')):
        shutil.copyfile(path, os.path.join(folder, 'storm', os.path.basename(path)))
    shutil.copy2(binary, os.path.join(folder, 'milescale'))
    subprocess.run(['chmod', '-R', 'a+rX', folder], check=True)
    return folder
