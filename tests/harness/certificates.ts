/** An authority of our own and a certificate for loopback that it signed, as files. */
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { LOOPBACK } from './redis-process.ts'

const run = promisify(execFile)

export interface Certificates {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

export async function makeCertificates(dir: string): Promise<Certificates> {
  const file = (name: string): string => join(dir, name)
  const openssl = (...args: string[]) => run('openssl', args)
  const key = (name: string) => [
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-keyout',
    file(name),
  ]
  await openssl('req', '-x509', ...key('ca.key'), '-out', file('ca.pem'), '-days', '2', '-subj', '/CN=test authority')
  await openssl('req', ...key('server.key'), '-out', file('server.csr'), '-subj', '/CN=test server')
  await writeFile(file('names'), `subjectAltName=IP:${LOOPBACK},DNS:localhost\n`)
  const signing = ['-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-CAcreateserial', '-extfile', file('names')]
  await openssl('x509', '-req', '-in', file('server.csr'), ...signing, '-out', file('server.pem'), '-days', '2')
  return { ca: file('ca.pem'), cert: file('server.pem'), key: file('server.key') }
}
