#!/usr/bin/env python3
"""Prints what a workspace's milestones say, read from the store that its marker names, by code of its own.

    verify.py ROOT [URL [SCHEMA]]        one line a milestone, sorted: ID<tab>CANONICAL VALUE
    verify.py --serve                    the same for each line of input, a JSON array of these, with an empty line behind
    verify.py --everything ROOT [URL [SCHEMA]]     one JSON object: every content that is kept anywhere, with its place
    verify.py --texts ROOT [URL [SCHEMA]]          one JSON object: the text of each milestone in use, comments and all

Two workspaces hold the same milestones exactly where the output is the same. Reads YAML as YAML 1.2 says (PyYAML, with
the numbers of JSON only), SQLite with Python's own module, PostgreSQL with psql. With a hybrid, the index is held against the files.
"""
import decimal
import json
import os
import re
import shutil
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import urllib.parse

import yaml


class Loader(yaml.SafeLoader):
    """YAML 1.2 with the numbers of JSON: what other readers take for more stays a text."""


Loader.yaml_implicit_resolvers = {}
Loader.add_implicit_resolver('tag:yaml.org,2002:null', re.compile(r'^(?:~|null|Null|NULL|)$'), ['~', 'n', 'N', ''])
Loader.add_implicit_resolver('tag:yaml.org,2002:bool', re.compile(r'^(?:true|True|TRUE|false|False|FALSE)$'), list('tTfF'))
# A number is what is spelled as JSON spells one; any other digits are a text (contract §2).
Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float', re.compile(r'^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$'), list('-0123456789'))
Loader.add_constructor('tag:yaml.org,2002:float', lambda loader, node: decimal.Decimal(loader.construct_scalar(node)))


def canonical(value):
    if isinstance(value, dict):
        return '{' + ','.join(f'{json.dumps(str(k))}:{canonical(v)}' for k, v in sorted(value.items())) + '}'
    if isinstance(value, list):
        return '[' + ','.join(canonical(v) for v in value) + ']'
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, (decimal.Decimal, int)):
        with decimal.localcontext() as context:
            context.prec = 2000
            number = decimal.Decimal(value).normalize()
            return '0' if number == 0 else format(number, 'f')
    return json.dumps(str(value))


def of_json(text):
    return json.loads(text, parse_float=decimal.Decimal, parse_int=decimal.Decimal)


def same(text, data):
    """Whether a document and a row are of one value."""
    try:
        return canonical(yaml.load(text, Loader)) == canonical(of_json(data))
    except (yaml.YAMLError, ValueError):
        return False


def kept_texts(contents):
    """id -> (row, the text that is kept of it or None), from (table, id, content) of a database. A row has no comments: its text has
    them. A text of another value is not the row's: another program has updated that, and a row of values alone is right then."""
    rows, texts = ({id: content for table, id, content in contents if table == wanted} for wanted in ('milestones', 'milescale_texts'))
    return {id: (data, texts[id] if id in texts and same(texts[id], data) else None) for id, data in rows.items()}


def file_paths(root):
    found = {}
    active = os.path.join(root, '.milestones', 'active')
    for folder, folders, names in os.walk(active):
        folders[:] = [name for name in folders if not name.startswith('.')]
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith('.yaml') and not name.startswith('.') and not os.path.islink(path):
                id = name[:-len('.yaml')]
                assert id not in found, f'{id} stands twice'
                found[id] = path
    return found


def files(root):
    found = {}
    for id, path in file_paths(root).items():
        with open(path, encoding='utf-8', newline='') as file:
            found[id] = yaml.load(file.read(), Loader)
    return found


def index(root, found):
    path = os.path.join(root, '.milestones', 'index.db')
    rows = sqlite3.connect(f'file:{path}?mode=ro', uri=True).execute('SELECT id, title, file_path FROM milestones').fetchall()
    assert {row[0] for row in rows} == set(found), f'the index has {len(rows)} rows, and there are {len(found)} files'
    for id, title, file in rows:
        said = found[id].get('title', id)
        assert title == str(said), f'{id}: the index says {title!r}, the file {said!r}'
        assert os.path.exists(os.path.join(root, file)), f'{id}: {file} is not there'


def engine(root):
    with open(os.path.join(root, '.milestones', 'config', 'storage-config.yaml'), encoding='utf-8') as file:
        return yaml.safe_load(file).get('storage', {}).get('database', {}).get('type', 'sqlite')


def rows(root, url, schema):
    if engine(root) == 'sqlite':
        path = os.path.join(root, '.milestones', 'enterprise.db')
        connection = sqlite3.connect(f'file:{path}?mode=ro', uri=True)
        return {id: of_json(data) for id, data in connection.execute('SELECT id, data FROM milestones')}
    table = f'"{schema}".milestones' if schema else 'milestones'
    said = psql(url, f'SELECT json_build_array(id, data) FROM {table}')
    return dict(of_json(line) for line in said.splitlines() if line)


def marker(root):
    with open(os.path.join(root, '.milestones', 'config', 'storage-backend.txt'), encoding='utf-8') as file:
        return file.read().strip()


def texts(root, url='', schema=''):
    """id -> text of each milestone in use, with what a row has of comments; for a row without a text, its values."""
    if marker(root) == 'database':
        in_database = in_sqlite(os.path.join(root, '.milestones', 'enterprise.db')) if engine(root) == 'sqlite' else in_postgresql(url, schema)
        return {id: data if text is None else text for id, (data, text) in kept_texts(list(in_database)).items()}
    return {id: read(path) for id, path in file_paths(root).items()}


def dump(root, url='', schema=''):
    backend = marker(root)
    if backend in ('file', 'hybrid'):
        found = files(root)
        if backend == 'hybrid':
            index(root, found)
    elif backend == 'database':
        found = rows(root, url, schema)
    else:
        raise AssertionError(f'the marker says {backend!r}')
    return ''.join(f'{id}\t{canonical(found[id])}\n' for id in sorted(found))


def serve():
    for line in sys.stdin:
        try:
            said = dump(*json.loads(line))
        except Exception as error:
            said = f'error: {error!r}\n'.replace('\n\n', '\n')
        print(said, flush=True)


# --- everything that is kept


def plain(content):
    return content.decode('utf-8', 'replace') if isinstance(content, bytes) else str(content)


def read(path):
    try:
        with open(path, 'rb') as file:
            return plain(file.read())
    except OSError:
        return None


def events(root):
    """The scale events that are whole lines, oldest first."""
    found = []
    folder = os.path.join(root, '.milestones', 'logs')
    logs = [name for name in os.listdir(folder) if name.startswith('scale-events.jsonl')] if os.path.isdir(folder) else []
    for name in sorted(logs, reverse=True):
        for line in (read(os.path.join(folder, name)) or '').splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    return found


def texts_below(root):
    """Each file below `.milestones/` that can hold a milestone: its path there, and its content."""
    top = os.path.join(root, '.milestones')
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if os.path.join(folder, name) != os.path.join(top, 'logs')]
        for name in names:
            path = os.path.join(folder, name)
            if os.path.islink(path) or not os.path.isfile(path) or os.path.getsize(path) > 1 << (26 if name == 'milestones.jsonl' else 20):
                continue
            place = os.path.relpath(path, top)
            if name == 'milestones.jsonl':
                for line in (read(path) or '').splitlines():
                    try:
                        line = json.loads(line)
                    except ValueError:
                        continue
                    if 'text' in line:
                        yield place, line['id'], line['text']
            elif '.db' not in name and not name.endswith(('.json', '.jsonl', '.lock')):
                yield place, None, read(path) or ''


def in_sqlite(path):
    """(table, id, content) of each row of a database that can hold a milestone."""
    if not os.path.exists(path):
        return
    with tempfile.TemporaryDirectory() as folder:
        # What a death left is rolled back in a copy: here nothing is mended.
        copy = os.path.join(folder, 'copy.db')
        for ending in ('', '-journal', '-wal'):
            if os.path.exists(path + ending):
                shutil.copyfile(path + ending, copy + ending)
        yield from in_copy(copy)


def in_copy(path):
    connection = sqlite3.connect(path)
    try:
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table, column in (('milestones', 'data'), ('milescale_texts', 'text'), ('milescale_displaced', 'text')):
            columns = {row[1] for row in connection.execute(f'PRAGMA table_info({table})')} if table in there else ()
            if column in columns:
                for id, content in connection.execute(f'SELECT id, {column} FROM {table}'):
                    yield table, id, plain(content)
    finally:
        connection.close()


def psql(url, sql):
    """What a statement of one column answers, a line a row: over a socket that trusts, in a millisecond; else by psql."""
    found = re.match(r'postgres(?:ql)?://([^@/:]+)@(%2F[^:/]+):(\d+)/(\w+)$', url)
    if found:
        user, folder, port, database = map(urllib.parse.unquote, found.groups())
        return in_a_moment(os.path.join(folder, f'.s.PGSQL.{port}'), user, database, sql)
    said = subprocess.run(['psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', url, '-c', sql],
                          check=True, capture_output=True, text=True)
    return said.stdout


def in_a_moment(path, user, database, sql):
    """The simple protocol of PostgreSQL, as far as it is needed."""
    with socket.socket(socket.AF_UNIX) as server:
        server.settimeout(30)
        server.connect(path)
        stream = server.makefile('rb')
        hello = struct.pack('!i', 196608) + f'user\0{user}\0database\0{database}\0client_encoding\0UTF8\0\0'.encode()
        server.sendall(struct.pack('!i', len(hello) + 4) + hello)
        rows, asked = [], False
        while True:
            kind, length = stream.read(1), struct.unpack('!i', stream.read(4))[0]
            body = stream.read(length - 4)
            if kind == b'R' and body != b'\0\0\0\0':
                raise ConnectionError('the server wants more than trust')
            if kind == b'E':
                raise subprocess.CalledProcessError(1, sql, stderr=body.replace(b'\0', b' ').decode('utf-8', 'replace'))
            if kind == b'D':
                size = struct.unpack('!i', body[2:6])[0]
                rows.append(body[6:6 + size].decode() if size >= 0 else '')
            if kind == b'Z':
                if asked:
                    return ''.join(f'{row}\n' for row in rows)
                asked = True
                text = sql.encode() + b'\0'
                server.sendall(b'Q' + struct.pack('!i', len(text) + 4) + text)


def in_postgresql(url, schema):
    """The same of a schema."""
    schema = schema or 'public'
    asked = psql(url, f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}'")
    for table, column in (('milestones', 'data::text'), ('milescale_texts', "convert_from(text, 'UTF8')"),
                          ('milescale_displaced', "convert_from(text, 'UTF8')")):
        if table in asked.split():
            try:
                said = psql(url, f'SELECT json_build_array(id, {column}) FROM "{schema}".{table}')
            except subprocess.CalledProcessError:
                said = psql(url, f'SELECT json_build_array(id, text::text) FROM "{schema}".{table}')
            for line in said.splitlines():
                yield (table, *json.loads(line))


def kept(root):
    """Conflicts: the name of each, and its content, and those that an event names."""
    folder = os.path.join(root, '.milestones', '.milescale', 'conflicts')
    there = {name: read(os.path.join(folder, name)) for name in (os.listdir(folder) if os.path.isdir(folder) else [])
             if name.endswith('.yaml')}
    named = [(event['details'].get('id'), os.path.basename(event['details'].get('kept_as') or ''))
             for event in events(root) if event.get('event') == 'write_conflict']
    return there, named


def archive_places(root):
    """The files of the archive, by id: their paths, the nearest last."""
    found = {}
    top = os.path.join(root, '.milestones', 'completed')
    for folder, _, names in os.walk(top, topdown=False):
        for name in names:
            if name.endswith('.yaml') and not name.startswith('.'):
                id = os.path.basename(folder) if name == 'definition.yaml' else name[:-len('.yaml')]
                found.setdefault(id, []).append(os.path.join(folder, name))
    return found


def archive(root):
    """The files of the archive, by id: their texts. Of several the one that lies nearest counts."""
    return {id: read(paths[-1]) for id, paths in archive_places(root).items()}


def everything(root, url='', schema=''):
    """All of it: (place, id or None, content)."""
    found = list(texts_below(root))
    top = os.path.join(root, '.milestones')
    for name in ('enterprise.db', os.path.join('.milescale', 'base.db')):
        found += [(f'{name}:{table}', id, content) for table, id, content in in_sqlite(os.path.join(top, name))]
    if url:
        found += [(f'postgresql:{table}', id, content) for table, id, content in in_postgresql(url, schema)]
    return found


def main():
    if sys.argv[1:] == ['--serve']:
        serve()
    elif sys.argv[1:2] == ['--everything']:
        root = sys.argv[2]
        there, named = kept(root)
        print(json.dumps({'contents': everything(*sys.argv[2:]), 'conflicts': there, 'named': named, 'events': events(root)}))
    elif sys.argv[1:2] == ['--texts']:
        print(json.dumps(texts(*sys.argv[2:])))
    else:
        print(dump(*sys.argv[1:]), end='')


if __name__ == '__main__':
    main()
