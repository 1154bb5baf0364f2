"""Items as clients read them: JSON documents with absolute URLs."""

from __future__ import annotations

from pydantic import JsonValue

from raster_analysis.portal.item import Item


def item_document(item: Item, base_url: str) -> dict[str, JsonValue]:
    """Return an item as the portal's REST interface shows it."""
    return {
        "id": item.id,
        "owner": item.owner,
        "ownerFolder": item.folder_id,
        "created": item.created_ms,
        "modified": item.modified_ms,
        "type": item.type,
        "typeKeywords": list(item.type_keywords),
        "title": item.title,
        "name": item.name,
        "description": item.description,
        "snippet": item.snippet,
        "tags": list(item.tags),
        "properties": item.properties,
        "thumbnail": item.thumbnail,
        "access": item.access.value,
        "size": item.size,
        "protected": item.protected,
        "url": absolute_url(item, base_url),
    }


def result_value(item: Item, base_url: str) -> dict[str, JsonValue]:
    """Return an item as the value of a job's output."""
    url = absolute_url(item, base_url)
    return {"itemId": item.id, "url": url} if url else {"itemId": item.id}


def absolute_url(item: Item, base_url: str) -> str | None:
    """Return the URL of a service's item, None for any other item."""
    return f"{base_url}{item.url}" if item.url else None
