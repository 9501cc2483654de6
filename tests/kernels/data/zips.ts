/** Zips as tests need them. */
import { buffer } from 'node:stream/consumers'
import yazl from 'yazl'

export async function zipOf(
  files: Readonly<Record<string, Uint8Array>>,
  zip = new yazl.ZipFile(),
): Promise<Uint8Array> {
  for (const [name, bytes] of Object.entries(files)) zip.addBuffer(Buffer.from(bytes), name)
  zip.end()
  return new Uint8Array(await buffer(zip.outputStream))
}
