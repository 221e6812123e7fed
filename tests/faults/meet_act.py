"""Another program acts, once, while milescale stands still at one of its calls.

    python3 -ISs meet_act.py SPEC        SPEC is a JSON file, written by the harness `meet`

Appends one JSON object to the journal: whether the act changed anything, what it read, what it wrote, and which store
marker and configuration named at that moment. Starts in some milliseconds: it imports nothing but what is needed.
"""
import json
import os
import re
import subprocess
import sys
import time

with open(sys.argv[1]) as file:
    SPEC = json.load(file)
P = os.path.join(SPEC['root'], '.milestones')
ID, TOKEN = SPEC['id'], SPEC['token']
LASTS = SPEC.get('lasts', 0.4)      # seconds that a transaction stays open


def journal(line):
    with open(SPEC['journal'], 'a') as file:
        file.write(json.dumps(line) + '\n')


def read(path):
    with open(path, 'rb') as file:
        return file.read().decode('utf-8', 'replace')


def named():
    """The store that marker and configuration name."""
    try:
        word = read(os.path.join(P, 'config/storage-backend.txt')).strip()
    except OSError:
        return 'file'
    if word != 'database':
        return word
    try:
        found = re.search(r'(?:^|\{)\s*type:\s*(\w+)', read(os.path.join(P, 'config/storage-config.yaml')), re.M)
    except OSError:
        found = None
    return found.group(1) if found else 'sqlite'


def in_active(id):
    for folder, folders, names in os.walk(os.path.join(P, 'active')):
        folders[:] = [name for name in folders if not name.startswith('.')]
        if id + '.yaml' in names:
            return os.path.join(folder, id + '.yaml')
    return None


def with_token(text):
    text = text if text.endswith('\n') or not text else text + '\n'
    return f'{text}t{SPEC["token"]}: 1\n'


def files(act):
    path = in_active(ID)
    if act == 'new':
        path = os.path.join(P, 'active', ID + '.yaml')
        if os.path.exists(path) or not os.path.isdir(os.path.dirname(path)):
            return None
        text = SPEC['text']
        with open(path, 'x') as file:
            file.write(text)
        return {'kind': 'write', 'place': 'files', 'saw': '', 'wrote': text}
    if act == 'held':
        path = SPEC['held']
        saw = read(path)
        with open(path, 'a') as file:
            file.write(f't{TOKEN}: 1\n')
        return {'kind': 'write', 'place': 'files', 'saw': saw, 'wrote': read(path), 'held': True}
    if act == 'again':
        if path is None:
            return None
        saw = read(path)
        os.unlink(path)
        with open(path, 'x') as file:
            file.write(with_token(saw))
        return {'kind': 'write', 'place': 'files', 'saw': saw, 'wrote': with_token(saw)}
    if act == 'recreate':
        if path is not None:
            return None
        path = os.path.join(P, 'active', ID + '.yaml')
        if not os.path.isdir(os.path.dirname(path)):
            return None
        with open(path, 'x') as file:
            file.write(SPEC['text'])
        return {'kind': 'write', 'place': 'files', 'saw': '', 'wrote': SPEC['text'], 'absent': True}
    if path is None:
        return None
    saw = read(path)
    if act == 'save':
        with open(path, 'w') as file:
            file.write(with_token(saw))
        return {'kind': 'write', 'place': 'files', 'saw': saw, 'wrote': with_token(saw)}
    if act == 'rename':
        with open(path + '.new', 'w') as file:
            file.write(with_token(saw))
        os.rename(path + '.new', path)
        return {'kind': 'write', 'place': 'files', 'saw': saw, 'wrote': with_token(saw)}
    if act == 'comment':
        with open(path, 'a') as file:
            file.write(('' if saw.endswith('\n') else '\n') + f'# t{TOKEN}: 1\n')
        return {'kind': 'write', 'place': 'files', 'saw': saw, 'wrote': read(path)}
    if act == 'recall':
        if not SPEC['text']:
            return None
        text = f'{SPEC["text"]}# t{TOKEN}: 1\n'
        with open(path + '.new', 'w') as file:
            file.write(text)
        os.rename(path + '.new', path)
        return {'kind': 'write', 'place': 'files', 'saw': saw, 'wrote': text}
    if act == 'checkout':
        if not SPEC['text'] or saw == SPEC['text']:
            return None
        with open(path + '.new', 'w') as file:
            file.write(SPEC['text'])
        os.rename(path + '.new', path)
        return {'kind': 'write', 'place': 'files', 'saw': saw, 'wrote': SPEC['text'], 'earlier': True}
    if act == 'delete':
        os.unlink(path)
        return {'kind': 'delete', 'place': 'files', 'saw': saw, 'wrote': None}
    if act in ('complete', 'complete-edit'):
        text = saw
        if act == 'complete-edit':
            text = with_token(saw)
            with open(path, 'w') as file:
                file.write(text)
        to = os.path.join(P, 'completed', ID + '.yaml')
        if os.path.exists(to):
            return None
        os.makedirs(os.path.dirname(to), exist_ok=True)
        os.rename(path, to)
        return {'kind': 'archive', 'place': 'files', 'saw': saw, 'wrote': text}
    if act == 'readonly':
        mode = os.stat(path).st_mode & 0o777
        if mode == 0o444:
            return None
        os.chmod(path, 0o444)
        return {'kind': 'other', 'place': 'files', 'saw': '', 'wrote': None}
    raise ValueError(act)


def sqlite(act):
    import sqlite3
    path = os.path.join(P, 'enterprise.db')
    if not os.path.exists(path):
        return None
    connection = sqlite3.connect(f'file:{path}?mode=rw', uri=True, timeout=0, isolation_level=None)
    kept = ''
    try:
        connection.execute('BEGIN IMMEDIATE')
        # What is kept of the row's text goes with it.
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'milescale_texts'").fetchone():
            kept = (connection.execute('SELECT text FROM milescale_texts WHERE id = ?', (ID,)).fetchone() or ('',))[0]
            kept = kept.decode('utf-8', 'replace') if isinstance(kept, bytes) else kept
        row = connection.execute('SELECT data FROM milestones WHERE id = ?', (ID,)).fetchone()
        if act == 'sql-new':
            if row:
                return None
            data = json.dumps(SPEC['value'])
            connection.execute("INSERT INTO milestones VALUES (?, ?, datetime('now'), datetime('now'))", (ID, data))
            saw = ''
        elif not row:
            return None
        elif act == 'sql-delete':
            connection.execute('DELETE FROM milestones WHERE id = ?', (ID,))
            saw, data = row[0], None
        else:
            saw, data = row[0], json.dumps({**json.loads(row[0]), f't{TOKEN}': 1})
            connection.execute("UPDATE milestones SET data = ?, updated_at = datetime('now') WHERE id = ?", (data, ID))
        if act == 'sql-open':
            is_open()
        connection.execute('COMMIT')
    except sqlite3.Error as error:
        return {'refused': str(error)}
    finally:
        connection.close()
    return {'kind': 'delete' if act == 'sql-delete' else 'write', 'place': 'sqlite', 'saw': saw, 'kept': kept, 'wrote': data}


def is_open():
    """The transaction is open: the one who waits may go on. It is committed some time later."""
    open(sys.argv[1] + '.open', 'w').close()
    time.sleep(LASTS)


def postgresql(act):
    table, texts = ('"%s".%s' % (SPEC['schema'], name) for name in ('milestones', 'milescale_texts'))
    # What is kept of the row's text goes with it; the table may not be there.
    kept = (f"CASE WHEN to_regclass('{texts}') IS NULL THEN '' ELSE to_json(query_to_xml("
            f"'SELECT convert_from(text, ''UTF8'') FROM {texts} WHERE id = ''{ID}''', true, true, '')::text)::text END")
    if act == 'psql-new':
        data = json.dumps(SPEC['value']).replace("'", "''")
        sql = f"INSERT INTO {table} (id, data) VALUES ('{ID}', '{data}') RETURNING '', data, ''"
    elif act == 'psql-delete':
        sql = f"DELETE FROM {table} WHERE id = '{ID}' RETURNING data, '', {kept}"
    else:
        sql = (f"UPDATE {table} n SET data = n.data || '{{\"t{TOKEN}\": 1}}', updated_at = now() "
               f"FROM {table} o WHERE n.id = '{ID}' AND o.id = n.id RETURNING o.data, n.data, {kept}")
    begin, commit = (['-c', 'BEGIN'], ['-c', f'SELECT pg_sleep({LASTS})', '-c', 'COMMIT']) if act == 'psql-open' else ([], [])
    with subprocess.Popen(
            ['psql', '-X', '-q', '-A', '-t', '-F', '\x1f', '-v', 'ON_ERROR_STOP=1', '-d', SPEC['url'],
             '-c', "SET lock_timeout = '150ms'; SET statement_timeout = '2s'", *begin, '-c', sql, *commit],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as psql:
        row = psql.stdout.readline()
        if act == 'psql-open' and row:
            is_open()
        _, error = psql.communicate(timeout=10)
    if psql.returncode:
        return {'refused': error.strip()}
    if '\x1f' not in row:
        return None
    saw, data, kept = row.rstrip('\n').split('\x1f')
    return {'kind': 'delete' if act == 'psql-delete' else 'write', 'place': 'postgresql', 'saw': saw, 'kept': kept and json.loads(kept),
            'wrote': data or None}


def config(act):
    path = os.path.join(P, 'config/storage-config.yaml')
    if act == 'config-new':
        text = f'# made by hand\nstorage:\n  monitoring: {{interval: 200}}\n# edit {TOKEN}\n'
        try:
            with open(path, 'x') as file:
                file.write(text)
        except FileExistsError:
            return None
        return {'kind': 'config', 'place': 'config', 'saw': '', 'wrote': text}
    text = read(path)
    text = text + f'# edit {TOKEN}\n'
    if act == 'config':
        with open(path, 'w') as file:
            file.write(text)
    else:
        with open(path + '.new', 'w') as file:
            file.write(text)
        os.rename(path + '.new', path)
    return {'kind': 'config', 'place': 'config', 'saw': '', 'wrote': text}


def marker():
    word = SPEC['word']
    path = os.path.join(P, 'config/storage-backend.txt')
    if read(path).strip() == word:
        return None
    with open(path, 'w') as file:
        file.write(word + '\n')
    return {'kind': 'marker', 'place': 'config', 'saw': '', 'wrote': word}


def lock():
    path = os.path.join(P, 'locks', ID + '.lock')
    if os.path.exists(path):
        return None
    os.makedirs(path)
    for name, text in (('pid', str(SPEC['pid'])), ('timestamp', SPEC['stamp'])):
        with open(os.path.join(path, name), 'w') as file:
            file.write(text + '\n')
    return {'kind': 'lock', 'place': 'locks', 'saw': '', 'wrote': None}


def put(patience=0.7):
    """Another `milescale milestone put`, which has not for ever."""
    binary = SPEC['binary']
    shown = subprocess.run([binary, 'milestone', 'show', ID, '--json'], capture_output=True, text=True,
                           cwd=SPEC['root'], timeout=max(10, patience))
    if shown.returncode:
        return None
    shown = json.loads(shown.stdout)
    text = with_token(shown['text'])
    if SPEC['act'] == 'put-note':
        text = text.removesuffix(f't{SPEC["token"]}: 1\n') + f'# t{SPEC["token"]}: 1\n'
    child = subprocess.Popen([binary, 'milestone', 'put', ID, '--if-match', shown['digest']], text=True, cwd=SPEC['root'],
                             stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, said = child.communicate(text, timeout=patience)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        said = 'killed'
    return {'kind': 'put', 'place': 'verb', 'saw': shown['text'], 'wrote': text, 'code': child.returncode, 'said': said}


def move(patience=3):
    """A whole move, if it is let; where it has to wait, it is given up."""
    word = SPEC['word'] if SPEC['word'] != named() else 'file'
    child = subprocess.Popen([SPEC['binary'], 'migrate', word, '--yes'], cwd=SPEC['root'], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    try:
        child.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
    return {'kind': 'beside', 'place': 'verb', 'saw': '', 'wrote': None, 'code': child.returncode}


def beside(act):
    """Other commands at the same time, which go on while the one that stands still here does."""
    if act == 'beside-check':
        hands = [subprocess.Popen([SPEC['binary'], 'check'], cwd=SPEC['root'], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, start_new_session=True)]
    else:
        hands = []
        for number in range(3 if act == 'beside3' else 1):
            spec = f'{sys.argv[1]}.{number}'
            with open(spec, 'w') as file:
                json.dump({**SPEC, 'act': 'hand', 'token': SPEC['token'] * 100 + 10 * number}, file)
            hands.append(subprocess.Popen([sys.executable, '-ISs', __file__, spec], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                          stderr=subprocess.DEVNULL, start_new_session=True))
    time.sleep(0.12)
    return {'kind': 'beside', 'place': 'verb', 'saw': '', 'wrote': None, 'hands': [hand.pid for hand in hands]}


def opened(act):
    """A transaction that goes on while the one that stands still here does: it has written, and is not committed yet. `psql-two`: and then
    another program writes another milestone and commits, long before."""
    global ID, TOKEN
    spec, is_two = sys.argv[1] + '.hand', act.endswith('-two')
    with open(spec, 'w') as file:
        json.dump({**SPEC, **({'act': 'psql-open-hand', 'lasts': 1.6} if is_two else {'act': act + '-hand'})}, file)
    hand = subprocess.Popen([sys.executable, '-ISs', __file__, spec], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, start_new_session=True)
    end = time.monotonic() + 1
    while not os.path.exists(spec + '.open') and hand.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    if not is_two:
        return {'refused': 'its hand tells', 'hands': [hand.pid]}
    ID, TOKEN = SPEC['other'], TOKEN * 100 + 1
    return {'id': ID, **(postgresql('psql') or {'refused': 'it matched no row'}), 'hands': [hand.pid]}


def hand():
    """Puts that are each based on what is there, and tried again where that has changed. Each is a line in the journal."""
    for number in range(2):
        for attempt in range(3):
            SPEC['token'] += 1
            done = put(15)
            if done is None:
                return
            journal({'act': 'hand', 'id': ID, 'named': named(), 'changed': True, **done})
            if done['code'] == 0:
                break


def main():
    if SPEC['act'] == 'hand':
        return hand()
    act, before = SPEC['act'].removesuffix('-hand'), named()
    try:
        if act in ('put', 'put-note'):
            done = put()
        elif act == 'move':
            done = move()
        elif act.startswith('beside'):
            done = beside(act)
        elif act == 'marker':
            done = marker()
        elif act == 'lock':
            done = lock()
        elif act.startswith('config'):
            done = config(act)
        elif act.endswith(('-open', '-two')) and act == SPEC['act']:
            done = opened(act)
        elif act.startswith('sql'):
            done = sqlite(act)
        elif act.startswith('psql'):
            done = postgresql(act)
        else:
            done = files(act)
    except OSError as error:
        done = {'refused': str(error)}
    if act.endswith('-open') and act != SPEC['act']:
        before = named()
    journal({'act': act, 'id': ID, 'named': before, 'at': time.time(), 'changed': bool(done) and 'refused' not in done, **(done or {})})


main()
