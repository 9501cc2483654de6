import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { parseEndpoint } from '../../runtime/redis/endpoint.ts'

test.each([
  ['redis://localhost', { kind: 'server', at: { host: 'localhost', port: 6379 }, db: 0 }],
  ['redis://10.0.0.1:7000/3', { kind: 'server', at: { host: '10.0.0.1', port: 7000 }, db: 3 }],
  ['redis://[::1]:7000?db=2', { kind: 'server', at: { host: '::1', port: 7000 }, db: 2 }],
  ['redis://ada:p%40ss@h', { kind: 'server', at: { host: 'h', port: 6379 }, db: 0, username: 'ada', password: 'p@ss' }],
  ['rediss://:secret@h', { kind: 'server', at: { host: 'h', port: 6379 }, db: 0, password: 'secret', tls: {} }],
  ['/run/redis.sock', { kind: 'server', at: { path: '/run/redis.sock' }, db: 0 }],
  ['unix:///run/my%20redis.sock', { kind: 'server', at: { path: '/run/my redis.sock' }, db: 0 }],
  [
    'redis+sentinel://a,b:26380/mymaster?db=1&sentinelPassword=s',
    {
      kind: 'sentinel',
      at: [
        { host: 'a', port: 26379 },
        { host: 'b', port: 26380 },
      ],
      master: 'mymaster',
      db: 1,
      sentinelPassword: 's',
    },
  ],
  [
    'rediss+cluster://u:p@a:1,b:2',
    {
      kind: 'cluster',
      at: [
        { host: 'a', port: 1 },
        { host: 'b', port: 2 },
      ],
      username: 'u',
      password: 'p',
      tls: {},
    },
  ],
])('%s is understood', (url, endpoint) => {
  expect(parseEndpoint(url)).toEqual(endpoint)
})

test.each([
  ['localhost:6379', /its scheme is wrong: expected redis:\/\/host:port\/db, .*, found ""/],
  ['http://localhost', /its scheme is wrong: .*found "http"/],
  ['redis://localhost:port', /the port of localhost is wrong: expected a number from 1 to 65535, found "port"/],
  ['redis://localhost:70000', /the port of localhost is wrong: .*found "70000"/],
  ['redis://a:1,b:2', /its host is wrong: expected one, as in redis:\/\/host:port\/db, found "a:1,b:2"/],
  ['redis://h/zero', /its database is wrong: expected a number, found "zero"/],
  ['redis+sentinel://a:1', /the master's name is wrong: expected as in redis\+sentinel:.*, found "nothing"/],
  ['redis+cluster://a:1/0', /its path is wrong: expected none, since a Cluster has no databases/],
  ['redis+cluster://a:1,:2', /a host is wrong: .*found ":2"/],
  ['redis://h?ca=/x', /a parameter is wrong: expected db, found "ca"/],
  ['rediss://h?ca=/nowhere.pem', /the file of "ca" is wrong: expected one that can be read, found "ENOENT/],
])('%s is refused', (url, words) => {
  expect(() => parseEndpoint(url)).toThrow(words)
})

test('a password is not repeated in an error', () => {
  for (const url of ['redis://ada:SECRET@h:x', 'redis+sentinel://:SECRET@h?sentinelPassword=SECRET']) {
    expect(() => parseEndpoint(url)).toThrow(/\*\*\*/)
    expect(() => parseEndpoint(url)).not.toThrow(/SECRET/)
  }
})

test('with TLS, the files that are named are read', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tf-tls-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'ca.pem'), 'the authority')
  expect(parseEndpoint(`rediss://h?ca=${join(folder, 'ca.pem')}`)).toMatchObject({ tls: { ca: 'the authority' } })
})
