/**
 * Installing a back end: what goes wrong is said at the step where it did, and changes nothing. That it goes right is
 * seen where the numerical suite runs on what was installed.
 */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { hostBackends, installBackend } from '../../kernels/mod.ts'
import type { InstallOptions } from '../../kernels/mod.ts'

let root: string
const said: string[] = []

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tf-install-'))
  said.length = 0
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(root, { recursive: true, force: true })
})

/** A program of this name that is found before any other. */
function stub(name: string, script: string): void {
  const bin = join(root, 'bin')
  mkdirSync(bin, { recursive: true })
  writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`)
  chmodSync(join(bin, name), 0o755)
  vi.stubEnv('PATH', `${bin}${delimiter}${process.env['PATH'] ?? ''}`)
}

function install(options: Partial<InstallOptions> = {}) {
  const backendsDir = join(root, 'backends')
  return installBackend({
    name: 'tensorflow',
    backendsDir,
    source: 'build',
    say: (line) => said.push(line),
    ...options,
  })
}

describe.skipIf(process.platform === 'win32')('installing a back end', () => {
  it('says that npm is missing', async () => {
    vi.stubEnv('PATH', join(root, 'nothing'))
    await expect(install()).rejects.toMatchObject({
      code: 'backend.unavailable',
      message: expect.stringMatching(/^npm install failed: there is no such program here/),
    })
  })

  it('says what npm says when it cannot get the package', async () => {
    stub('npm', 'echo "npm error code E404" >&2; echo "request to nowhere failed, reason: ENOTFOUND" >&2; exit 1')
    await expect(install()).rejects.toThrow('npm install failed: request to nowhere failed, reason: ENOTFOUND')
  })

  it('says that a folder holds no library, and leaves an earlier installation as it was', async () => {
    const earlier = join(root, 'backends', 'tensorflow')
    mkdirSync(earlier, { recursive: true })
    writeFileSync(join(earlier, 'installed.json'), '{}')
    stub('npm', 'exit 0')
    await expect(install({ library: root })).rejects.toThrow(`${root} holds no libtensorflow`)
    expect(readdirSync(join(root, 'backends'))).toEqual(['tensorflow'])
    expect(existsSync(join(earlier, 'installed.json'))).toBe(true)
  })

  it('goes on to build when the package has no download, and says why', async () => {
    stub('npm', 'test "$1" = install && exit 0; echo "getaddrinfo ENOTFOUND downloads.example" >&2; exit 1')
    stub('python3', 'echo "no index" >&2; exit 1')
    await expect(install({ source: 'auto' })).rejects.toThrow(/No libtensorflow can be had.*tensorflow-cpu.*no index/)
    expect(said).toContain(
      '  not to be had (npm rebuild failed: getaddrinfo ENOTFOUND downloads.example): building it instead',
    )
  })

  it('says what a compiler says', async () => {
    stub('npm', 'exit 0')
    stub('c++', 'echo "tfjs_backend.cc:1: fatal error: no" >&2; exit 1')
    const library = join(root, 'library')
    mkdirSync(join(library, 'include/tensorflow/c'), { recursive: true })
    for (const file of ['include/tensorflow/c/c_api.h', 'libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'])
      writeFileSync(join(library, file), '')
    vi.stubEnv('CXX', 'c++')
    await expect(install({ library })).rejects.toThrow(/c\+\+ .* failed: tfjs_backend.cc:1: fatal error: no/)
  })
})

it('a host says of each back end what it is or why it is not there', async () => {
  const found = await hostBackends(join(root, 'backends'))
  expect(found.find(({ name }) => name === 'cpu')).toMatchObject({ isThere: true, fingerprint: expect.any(String) })
  expect(found.find(({ name }) => name === 'wasm')).toMatchObject({ isThere: true })
  expect(found.find(({ name }) => name === 'tensorflow')).toMatchObject({
    isThere: false,
    reason: expect.stringContaining('backends install tensorflow'),
  })
})
