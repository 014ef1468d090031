/** The console: the panels with addresses of their own, inside the hub's page. */
import 'lab-theme:light';
import 'lab-theme:dark';
import { Client, languageOf, Ltai, makeQueryClient, PanelAt, titleOf, useWords, type Connection, type Place } from '@ltai/ui';
import { useEffect, useMemo, useState } from 'react';
import { createRoot } from 'react-dom/client';

import './console.css';
import { Navigation } from './navigation';

/** What the page tells the bundle, as data attributes of #ltai. */
interface Page {
  /** Prefix of the console, e.g. "/services/console/". */
  prefix: string;
  /** Base of the hub and everything, e.g. "/". */
  base: string;
  xsrf: string;
  language: string;
}

function readPage(root: HTMLElement): Page {
  return { prefix: root.dataset.prefix ?? '/services/console/', base: root.dataset.base ?? '/', xsrf: root.dataset.xsrf ?? '', language: root.dataset.language ?? '' };
}

function makeConnection(page: Page): Connection {
  return {
    url: (service, path) => `${page.prefix}api/${service}/${path}`,
    headers: () => ({ 'X-XSRFToken': page.xsrf })
  };
}

interface Spot {
  path: string;
  query: string;
}

function spotOf(location: Location, prefix: string): Spot {
  const inside = location.pathname.startsWith(prefix) ? location.pathname.slice(prefix.length) : '';
  return { path: `/${inside}`, query: location.search };
}

function usePlaceOf(page: Page): Place {
  const [spot, setSpot] = useState(() => spotOf(window.location, page.prefix));
  useEffect(() => {
    const onPop = (): void => setSpot(spotOf(window.location, page.prefix));
    window.addEventListener('popstate', onPop);
    return () => window.removeEventListener('popstate', onPop);
  }, [page.prefix]);
  return useMemo<Place>(() => {
    const href = (path: string): string => page.prefix + path.replace(/^\//, '');
    const go = (url: string, replace: boolean): void => {
      window.history[replace ? 'replaceState' : 'pushState'](null, '', url);
      setSpot(spotOf(window.location, page.prefix));
    };
    return {
      host: 'console',
      path: spot.path,
      query: new URLSearchParams(spot.query),
      href,
      hub: path => `${page.base}hub/${path}`,
      open: path => {
        go(href(path), false);
        window.scrollTo(0, 0);
      },
      setQuery: changes => {
        const next = new URLSearchParams(window.location.search);
        for (const [name, value] of Object.entries(changes)) {
          if (value === null) next.delete(name);
          else next.set(name, value);
        }
        const text = next.toString();
        go(window.location.pathname + (text ? `?${text}` : ''), true);
      },
      visit: url => window.open(url, '_blank', 'noopener')
    };
  }, [page.prefix, spot]);
}

const queries = makeQueryClient();

function Console({ page }: { page: Page }): JSX.Element {
  const place = usePlaceOf(page);
  const client = useMemo(() => new Client(makeConnection(page)), [page]);
  return (
    <Ltai client={client} queries={queries} place={place} language={languageOf(page.language)}>
      <Navigation place={place} prefix={page.prefix} />
      <main className="lt lt-console">
        <WindowTitle path={place.path} />
        <PanelAt path={place.path} />
      </main>
    </Ltai>
  );
}

function WindowTitle({ path }: { path: string }): null {
  const { t } = useWords();
  const { key, detail } = titleOf(path);
  useEffect(() => {
    document.title = `${[detail, t(key)].filter(Boolean).join(' · ')} · LtAI`;
  }, [path, t]);
  return null;
}

const root = document.getElementById('ltai');
if (root) createRoot(root).render(<Console page={readPage(root)} />);
