/** The only file that fetches. A `Connection` says where the services are and how this page proves who it is. */

export interface Connection {
  /** Address of a path of a service, e.g. ('training', 'api/v1/jobs'). */
  url(service: string, path: string): string;
  /** Headers every request needs: XSRF, and a token where there are no cookies. */
  headers(): Record<string, string>;
}

export interface FieldProblem {
  field: string;
  message: string;
}

/** A problem as a service tells it (RFC 9457); `message` is the sentence to show. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code: string,
    readonly requestId: string,
    readonly fields: FieldProblem[]
  ) {
    super(message);
  }
}

export type Params = Record<string, string | number | boolean | null | undefined>;

const NO_ANSWER = 'no-answer';

export class Client {
  constructor(private readonly connection: Connection) {}

  get<T>(service: string, path: string, params: Params = {}, signal?: AbortSignal): Promise<T> {
    return this.json<T>(service, path + query(params), { method: 'GET', signal });
  }

  send<T>(method: 'POST' | 'PUT' | 'PATCH' | 'DELETE', service: string, path: string, body?: unknown): Promise<T> {
    const headers: Record<string, string> = body === undefined ? {} : { 'Content-Type': 'application/json' };
    return this.json<T>(service, path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  }

  upload<T>(service: string, path: string, file: File): Promise<T> {
    const form = new FormData();
    form.append('file', file, file.name);
    return this.json<T>(service, path, { method: 'POST', body: form });
  }

  async text(service: string, path: string, params: Params = {}, signal?: AbortSignal): Promise<string> {
    return (await this.request(service, path + query(params), { method: 'GET', signal })).text();
  }

  async blob(service: string, path: string, params: Params = {}): Promise<Blob> {
    return (await this.request(service, path + query(params), { method: 'GET' })).blob();
  }

  /** Text as it arrives, until the service ends it or the signal aborts. */
  async follow(service: string, path: string, params: Params, onText: (text: string, bytes: number) => void, signal: AbortSignal): Promise<void> {
    const response = await this.request(service, path + query(params), { method: 'GET', signal });
    const reader = response.body?.getReader();
    const decoder = new TextDecoder();
    for (;;) {
      const piece = await reader?.read();
      if (!piece || piece.done) return;
      onText(decoder.decode(piece.value, { stream: true }), piece.value.byteLength);
    }
  }

  private async json<T>(service: string, path: string, init: RequestInit): Promise<T> {
    const response = await this.request(service, path, init);
    const text = await response.text();
    return (text ? JSON.parse(text) : undefined) as T;
  }

  private async request(service: string, path: string, init: RequestInit): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(this.connection.url(service, `api/v1/${path}`), {
        ...init,
        credentials: 'same-origin',
        headers: { Accept: 'application/json, text/plain, */*', ...this.connection.headers(), ...(init.headers as Record<string, string>) }
      });
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw new ApiError('', 0, NO_ANSWER, '', []);
    }
    if (!response.ok) throw await problemOf(response);
    return response;
  }
}

async function problemOf(response: Response): Promise<ApiError> {
  const body = await response.text().catch(() => '');
  const requestId = response.headers.get('X-Request-ID') ?? '';
  try {
    const said = JSON.parse(body) as { detail?: string; message?: string; title?: string; code?: string; request_id?: string; errors?: FieldProblem[] };
    const sentence = said.detail || said.message || said.title || response.statusText;
    return new ApiError(sentence, response.status, said.code ?? '', said.request_id ?? requestId, said.errors ?? []);
  } catch {
    return new ApiError('', response.status, response.status >= 500 ? NO_ANSWER : '', requestId, []);
  }
}

function query(params: Params): string {
  const pairs = Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return pairs.length ? `?${new URLSearchParams(pairs.map(([name, value]) => [name, String(value)]))}` : '';
}

/** One JSON document that is not a service's, e.g. what the notebook server knows about its hub. */
export async function getJson<T>(url: string, headers: Record<string, string>): Promise<T> {
  const response = await fetch(url, { credentials: 'same-origin', headers });
  if (!response.ok) throw await problemOf(response);
  return (await response.json()) as T;
}
