#!/usr/bin/env python3
"""Prints what a workspace's milestones say, read from the store that its marker names, by code of its own.

    verify.py ROOT [URL [SCHEMA]]        one line a milestone, sorted: ID<tab>CANONICAL VALUE
    verify.py --serve                    the same for each line of input, a JSON array of these, with an empty line behind

Two workspaces hold the same milestones exactly where the output is the same. Reads YAML as YAML 1.2 says (PyYAML with the
core schema), SQLite with Python's own module, PostgreSQL with psql. With a hybrid, the index is held against the files.
"""
import decimal
import json
import os
import re
import sqlite3
import subprocess
import sys

import yaml


class Loader(yaml.SafeLoader):
    """YAML 1.2: what a reader of YAML 1.1 takes for more stays a text."""


Loader.yaml_implicit_resolvers = {}
Loader.add_implicit_resolver('tag:yaml.org,2002:null', re.compile(r'^(?:~|null|Null|NULL|)$'), ['~', 'n', 'N', ''])
Loader.add_implicit_resolver('tag:yaml.org,2002:bool', re.compile(r'^(?:true|True|TRUE|false|False|FALSE)$'), list('tTfF'))
Loader.add_implicit_resolver('tag:yaml.org,2002:int', re.compile(r'^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$'), list('-+0123456789'))
Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float',
    re.compile(r'^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$'), list('-+0123456789.'))


def whole(loader, node):
    text = loader.construct_scalar(node)
    base = {'0o': 8, '0x': 16}.get(text[:2], 10)
    return decimal.Decimal(int(text[2:] if base != 10 else text, base))


Loader.add_constructor('tag:yaml.org,2002:int', whole)
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


def files(root):
    found = {}
    active = os.path.join(root, '.milestones', 'active')
    for folder, folders, names in os.walk(active):
        folders[:] = [name for name in folders if not name.startswith('.')]
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith('.yaml') and not name.startswith('.') and not os.path.islink(path):
                id = name[:-len('.yaml')]
                assert id not in found, f'{id} stands twice'
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


def rows(root, url, schema):
    with open(os.path.join(root, '.milestones', 'config', 'storage-config.yaml'), encoding='utf-8') as file:
        engine = yaml.safe_load(file).get('storage', {}).get('database', {}).get('type', 'sqlite')
    if engine == 'sqlite':
        path = os.path.join(root, '.milestones', 'enterprise.db')
        connection = sqlite3.connect(f'file:{path}?mode=ro', uri=True)
        return {id: of_json(data) for id, data in connection.execute('SELECT id, data FROM milestones')}
    table = f'"{schema}".milestones' if schema else 'milestones'
    said = subprocess.run(
        ['psql', '-X', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', url, '-c',
         f"SELECT json_build_array(id, data) FROM {table}"],
        check=True, capture_output=True, text=True).stdout
    return dict(of_json(line) for line in said.splitlines() if line)


def dump(root, url='', schema=''):
    with open(os.path.join(root, '.milestones', 'config', 'storage-backend.txt'), encoding='utf-8') as file:
        backend = file.read().strip()
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


if sys.argv[1:] == ['--serve']:
    serve()
else:
    print(dump(*sys.argv[1:]), end='')
