/** What every panel may ask for: the services, where it is, who looks, and the reader's language. */
import { QueryClient, QueryClientProvider, useMutation, useQuery, useQueryClient, type UseQueryResult } from '@tanstack/react-query';
import { createContext, useContext, useMemo, type ReactNode } from 'react';

import { ApiError, Client, type Params } from './client';
import { makeWords, WordsContext, type Language } from './i18n';
import { ConfirmProvider } from './parts/dialog';
import { ToastProvider } from './parts/toast';
import type { List, Me } from './types';

/** Where a panel is and how it goes elsewhere. Paths are the console's, e.g. "/jobs/12?tab=log". */
export interface Place {
  path: string;
  query: URLSearchParams;
  /** Shows another page: a new address in the console, a tab in JupyterLab. */
  open(path: string): void;
  /** Changes parts of the query in place; null removes. */
  setQuery(changes: Record<string, string | null>): void;
  /** Address for a link people may copy. */
  href(path: string): string;
  /** Address of a page of the hub itself, "" where there is none. */
  hub(path: string): string;
  /** Leaves for another site page (an environment, MLflow). */
  visit(url: string): void;
  /** What the panels are shown in. */
  host: 'console' | 'lab';
}

const ClientContext = createContext<Client | null>(null);
const PlaceContext = createContext<Place | null>(null);

function must<T>(value: T | null, name: string): T {
  if (value === null) throw new Error(`${name} is used outside of <Ltai>`);
  return value;
}

export const useClient = (): Client => must(useContext(ClientContext), 'useClient');
export const usePlace = (): Place => must(useContext(PlaceContext), 'usePlace');

export function makeQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 1500,
        refetchOnWindowFocus: true,
        retry: (count, error) => count < 2 && (!(error instanceof ApiError) || error.status === 0 || (error.status >= 502 && error.code !== 'no-hub')),
        retryDelay: count => 500 * 2 ** count
      },
      mutations: { retry: false }
    }
  });
}

export function Ltai(props: { client: Client; queries: QueryClient; place: Place; language: Language; children: ReactNode }): JSX.Element {
  const words = useMemo(() => makeWords(props.language), [props.language]);
  return (
    <WordsContext.Provider value={words}>
      <ClientContext.Provider value={props.client}>
        <PlaceContext.Provider value={props.place}>
          <QueryClientProvider client={props.queries}>
            <ToastProvider>
              <ConfirmProvider>{props.children}</ConfirmProvider>
            </ToastProvider>
          </QueryClientProvider>
        </PlaceContext.Provider>
      </ClientContext.Provider>
    </WordsContext.Provider>
  );
}

export const STEADY = 10_000;
export const LIVELY = 2_000;

export interface Ask {
  params?: Params;
  /** Milliseconds between two looks; 0: only once. */
  every?: number | ((data: unknown) => number);
  enabled?: boolean;
}

/** One thing of a service, kept fresh. */
export function useOne<T>(service: string, path: string, ask: Ask = {}): UseQueryResult<T, Error> {
  const client = useClient();
  const { every = STEADY, params = {}, enabled = true } = ask;
  return useQuery<T>({
    queryKey: [service, path, params],
    queryFn: ({ signal }) => client.get<T>(service, path, params, signal),
    refetchInterval: query => (typeof every === 'function' ? every(query.state.data) : every) || false,
    enabled,
    placeholderData: previous => previous
  });
}

export function useList<T>(service: string, path: string, ask: Ask = {}): UseQueryResult<List<T>, Error> {
  return useOne<List<T>>(service, path, ask);
}

/** A change: runs, then everything the service shows is looked at again. */
export function useChange<In, Out = unknown>(run: (client: Client, input: In) => Promise<Out>, ...services: string[]) {
  const client = useClient();
  const queries = useQueryClient();
  return useMutation<Out, Error, In>({
    mutationFn: input => run(client, input),
    onSettled: () => Promise.all(services.map(service => queries.invalidateQueries({ queryKey: [service] })))
  });
}

export function useMe(): UseQueryResult<Me, Error> {
  return useOne<Me>('tenancy', 'me', { every: 60_000 });
}

/** May the person do it in this tenant, or in any when none is given? Platform admins may all. */
export function may(me: Me | undefined, action: string, tenant?: string): boolean {
  if (!me) return false;
  if (me.admin) return true;
  const lists = tenant ? [me.actions[tenant] ?? []] : Object.values(me.actions);
  return lists.some(list => list.includes(action) || list.includes(`${action.split(':')[0]}:*`));
}
