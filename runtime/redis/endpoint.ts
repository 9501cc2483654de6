/**
 * Where Redis is, as one URL: a server, the master that Sentinels watch over, or a Cluster. What is wrong with a URL is
 * said with what was expected; a password in it is never repeated.
 *
 *     redis://user:password@host:6379/0            one server; `rediss://` with TLS
 *     unix:///path/to/redis.sock                   one server by its socket; a plain path says the same
 *     redis+sentinel://host:26379,host:26379/name  the master of that name; `rediss+sentinel://` with TLS
 *     redis+cluster://host:6379,host:6379          a Cluster, by some of its nodes; `rediss+cluster://` with TLS
 *
 * Parameters: `db` (not in a Cluster); `sentinelUser` and `sentinelPassword`; with TLS `ca`, `cert` and `key`, paths of PEM
 * files, for what the system's own certificates don't vouch for.
 */
import { readFileSync } from 'node:fs'
import { RuntimeError } from '../errors.ts'

export interface HostPort {
  readonly host: string
  readonly port: number
}

export interface Tls {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
}

interface Access {
  readonly username?: string
  readonly password?: string
  readonly tls?: Tls
}

export type Endpoint = Access &
  (
    | { readonly kind: 'server'; readonly at: HostPort | { readonly path: string }; readonly db: number }
    | {
        readonly kind: 'sentinel'
        readonly at: readonly HostPort[]
        readonly master: string
        readonly db: number
        readonly sentinelUser?: string
        readonly sentinelPassword?: string
      }
    | { readonly kind: 'cluster'; readonly at: readonly HostPort[] }
  )

type Kind = Endpoint['kind']

const FORMS: { readonly [K in Kind]: string } = {
  server: 'redis://host:port/db',
  sentinel: 'redis+sentinel://host:port,host:port/master-name',
  cluster: 'redis+cluster://host:port,host:port',
}
const PORTS: { readonly [K in Kind]: number } = { server: 6_379, sentinel: 26_379, cluster: 6_379 }
const SCHEMES: Readonly<Record<string, Kind>> = {
  redis: 'server',
  'redis+sentinel': 'sentinel',
  'redis+cluster': 'cluster',
}
const TLS_FILES = ['ca', 'cert', 'key'] as const
const PARAMETERS: { readonly [K in Kind]: readonly string[] } = {
  server: ['db'],
  sentinel: ['db', 'sentinelUser', 'sentinelPassword'],
  cluster: [],
}

/** Throws `redis.address-malformed`. Reads the files that it names. */
export function parseEndpoint(text: string): Endpoint {
  return new Parser(text).parse()
}

class Parser {
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

  parse(): Endpoint {
    const text = this.#text
    if (text.startsWith('/')) return { kind: 'server', at: { path: text }, db: 0 }
    const [, scheme = '', rest = ''] = /^([a-z+]+):\/\/(.*)$/s.exec(text) ?? []
    if (scheme === 'unix') return this.#socket(rest)
    const tls = scheme.startsWith('rediss')
    const kind = SCHEMES[tls ? scheme.replace('rediss', 'redis') : scheme]
    if (kind === undefined)
      throw this.#wrong('its scheme', Object.values(FORMS).join(', ') + ' or unix:///path', scheme)
    const [, user, hosts = '', path = '', query = ''] =
      /^(?:([^@]*)@)?([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(rest) ?? []
    const parameters = this.#parameters(kind, query, tls)
    const access = { ...this.#user(user), ...(tls && { tls: this.#tls(parameters) }) }
    const at = hosts.split(',').map((each) => this.#host(each, kind))
    const [first] = at
    if (kind === 'server') {
      if (first === undefined || at.length > 1) throw this.#wrong('its host', `one, as in ${FORMS.server}`, hosts)
      return { kind, ...access, at: first, db: this.#db(path === '' ? parameters.get('db') : path) }
    }
    if (kind === 'cluster') {
      if (path !== '') throw this.#wrong('its path', `none, since a Cluster has no databases: ${FORMS.cluster}`, path)
      return { kind, ...access, at }
    }
    if (path === '') throw this.#wrong("the master's name", `as in ${FORMS.sentinel}`, 'nothing')
    const [sentinelUser, sentinelPassword] = [parameters.get('sentinelUser'), parameters.get('sentinelPassword')]
    return {
      kind,
      ...access,
      at,
      master: decodeURIComponent(path),
      db: this.#db(parameters.get('db')),
      ...(sentinelUser !== null && { sentinelUser }),
      ...(sentinelPassword !== null && { sentinelPassword }),
    }
  }

  #socket(path: string): Endpoint {
    if (!path.startsWith('/')) throw this.#wrong('its path', 'unix:///path/to/redis.sock', path)
    return { kind: 'server', at: { path: decodeURIComponent(path) }, db: 0 }
  }

  #host(text: string, kind: Kind): HostPort {
    const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:[\]]*))(?::(.*))?$/.exec(text) ?? []
    const host = bracketed ?? plain ?? ''
    const number = port === undefined ? PORTS[kind] : Number(port)
    if (host === '') throw this.#wrong('a host', `a name or an address, as in ${FORMS[kind]}`, text)
    if (!Number.isInteger(number) || number < 1 || number > 65_535 || port === '') {
      throw this.#wrong(`the port of ${host}`, 'a number from 1 to 65535', port ?? '')
    }
    return { host, port: number }
  }

  #user(text: string | undefined): Pick<Access, 'username' | 'password'> {
    if (text === undefined) return {}
    const colon = text.indexOf(':')
    const username = decodeURIComponent(colon === -1 ? text : text.slice(0, colon))
    const password = colon === -1 ? '' : decodeURIComponent(text.slice(colon + 1))
    return { ...(username !== '' && { username }), ...(password !== '' && { password }) }
  }

  #parameters(kind: Kind, query: string, tls: boolean): URLSearchParams {
    const parameters = new URLSearchParams(query)
    const known = [...PARAMETERS[kind], ...(tls ? TLS_FILES : [])]
    for (const name of parameters.keys()) {
      if (!known.includes(name)) throw this.#wrong('a parameter', known.join(', ') || 'none', name)
    }
    return parameters
  }

  #tls(parameters: URLSearchParams): Tls {
    const files = TLS_FILES.flatMap((name) => {
      const path = parameters.get(name)
      return path === null ? [] : [[name, this.#file(name, path)] as const]
    })
    return Object.fromEntries(files)
  }

  #file(name: string, path: string): string {
    try {
      return readFileSync(path, 'utf8')
    } catch (error) {
      throw this.#wrong(`the file of "${name}"`, 'one that can be read', error instanceof Error ? error.message : path)
    }
  }

  #db(text: string | null | undefined): number {
    const number = Number(text ?? 0)
    if (!Number.isInteger(number) || number < 0) throw this.#wrong('its database', 'a number', text ?? '')
    return number
  }

  #wrong(field: string, expected: string, found: string): RuntimeError {
    const url = this.#text.replace(/\/\/[^@/]*@/, '//***@').replace(/(sentinelPassword=)[^&]*/, '$1***')
    return new RuntimeError(
      'redis.address-malformed',
      `Cannot use "${url}" as Redis's address: ${field} is wrong: expected ${expected}, found ${JSON.stringify(found)}`,
      { remedy: 'fix-request', data: { field, expected, found } },
    )
  }
}
