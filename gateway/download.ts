/**
 * A blob as a file to take home. What a hash names never changes: its hash is its ETag, and who has it already is told so.
 * The blob is opened only for an answer that has a body: an open one that nobody reads would keep its file open.
 */
import type { Context } from './api.ts'
import type { Services } from './services.ts'

export interface Download {
  readonly blob: { readonly sha256: string; readonly sizeBytes: number }
  readonly mediaType: string
  readonly filename: string
}

export async function download(
  c: Context,
  { blobs }: Pick<Services, 'blobs'>,
  { blob: { sha256, sizeBytes }, mediaType, filename }: Download,
): Promise<Response> {
  const headers = {
    ETag: `"${sha256}"`,
    'Cache-Control': 'private, max-age=31536000, immutable',
    'Content-Type': mediaType,
    'Content-Disposition': `attachment; filename="${filename}"`,
  }
  if (c.req.header('if-none-match') === headers.ETag) return new Response(null, { status: 304, headers })
  const body = c.req.method === 'HEAD' ? null : await blobs.get(sha256, { signal: c.req.raw.signal })
  return new Response(body, { headers: { ...headers, 'Content-Length': String(sizeBytes) } })
}
