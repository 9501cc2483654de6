/**
 * A zip as strangers send it: links, paths that lead out, encryption and entries beyond measure are refused before
 * anything is unpacked, and what is unpacked is bounded (`bytes.ts`). Nothing is ever written to a path of an archive.
 */
import yauzl from 'yauzl'
import type { Entry, ZipFile } from 'yauzl'
import { KernelError } from '../../errors.ts'
import { ARCHIVE_ENTRIES_MAX } from '../../limits.ts'
import { checkUnpacked, StreamBytes } from './bytes.ts'
import type { ByteReader } from './bytes.ts'

export interface ZipEntry {
  /** Its path in the archive, with slashes. */
  readonly name: string
  readonly sizeBytes: number
  readonly packedBytes: number
  readonly entry: Entry
}

export interface OpenZip extends AsyncDisposable {
  /** Files, no folders, in the order of their names. */
  readonly entries: readonly ZipEntry[]
  read(entry: ZipEntry): Promise<ByteReader>
}

const LINK = 0o120000
const KIND = 0o170000

export async function openZip(path: string, name: string): Promise<OpenZip> {
  const zip = await opened(path, name)
  try {
    if (zip.entryCount > ARCHIVE_ENTRIES_MAX) throw malformed(name, `it has ${zip.entryCount} entries`)
    const entries = await listed(zip, name)
    const packed = entries.reduce((sum, { packedBytes }) => sum + packedBytes, 0)
    checkUnpacked(
      name,
      packed,
      entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    )
    return {
      entries,
      read: async ({ entry, name: inside, packedBytes }) => {
        const stream = await new Promise<AsyncIterable<Uint8Array>>((resolve, reject) => {
          zip.openReadStream(entry, (error, found) => {
            if (error === null || error === undefined) resolve(found)
            else reject(malformed(`${name}/${inside}`, error.message))
          })
        })
        return new StreamBytes(stream, `${name}/${inside}`, packedBytes)
      },
      [Symbol.asyncDispose]: async () => zip.close(),
    }
  } catch (error) {
    zip.close()
    throw error
  }
}

function opened(path: string, name: string): Promise<ZipFile> {
  return new Promise((resolve, reject) => {
    const options = { lazyEntries: true, autoClose: false, strictFileNames: true, validateEntrySize: true }
    yauzl.open(path, options, (error, zip) => {
      if (error === null || error === undefined) resolve(zip)
      else reject(malformed(name, error.message))
    })
  })
}

function listed(zip: ZipFile, name: string): Promise<ZipEntry[]> {
  return new Promise((resolve, reject) => {
    const entries: ZipEntry[] = []
    zip.on('error', (error: Error) => reject(malformed(name, error.message)))
    zip.on('end', () => resolve(entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))))
    zip.on('entry', (entry: Entry) => {
      const inside = entry.fileName
      // The upper half is the Unix mode, where a Unix program made the archive.
      if (((entry.externalFileAttributes >>> 16) & KIND) === LINK) {
        return reject(malformed(name, `its entry ${inside} is a link`))
      }
      if (entry.isEncrypted()) return reject(malformed(name, `its entry ${inside} is encrypted`))
      // What systems leave in folders by themselves.
      const isHidden = /(^|\/)(\.|__MACOSX\/|Thumbs\.db$|desktop\.ini$)/i.test(inside)
      if (!inside.endsWith('/') && !isHidden) {
        entries.push({ name: inside, sizeBytes: entry.uncompressedSize, packedBytes: entry.compressedSize, entry })
      }
      zip.readEntry()
    })
    zip.readEntry()
  })
}

function malformed(name: string, reason: string): KernelError {
  return new KernelError('data.malformed', `Cannot read ${name} as a zip: ${reason}`, { file: name })
}
